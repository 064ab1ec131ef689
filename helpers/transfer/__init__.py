"""Parts of the migration: the source's snapshot, batches, checkpoint, target, and the walk that compares
both.
"""
