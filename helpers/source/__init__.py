"""PostgreSQL as the source: a snapshot, its columns, its log."""
