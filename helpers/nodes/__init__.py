"""More than one node: what each store does when its data are spread or copied, and when a node dies."""
