"""A user-activity database: designed in PostgreSQL, compared on four real servers, migrated to Redis with proof."""
