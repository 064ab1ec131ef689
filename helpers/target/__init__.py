"""Redis or a cluster as the target: the wire, the lease and the checkpoint, what it holds."""
