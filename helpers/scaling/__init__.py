"""More rows, less memory, more nodes: what each store does."""
