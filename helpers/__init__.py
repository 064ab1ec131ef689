"""A user-activity database: designed in PostgreSQL, compared on servers, migrated to Redis with proof."""
