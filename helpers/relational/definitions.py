"""The course's tables as PostgreSQL makes them."""

from collections.abc import Mapping

KEYS: Mapping[str, str] = {
    "users": "user_id",
    "products": "product_id",
    "activities": "activity_id",
    "orders": "order_id",
}
"""The primary key of each table; its values come from the sequence ``<table>_<key>_seq``."""
DDL: Mapping[str, str] = {
    "users": """\
CREATE TABLE IF NOT EXISTS users (
    user_id    SERIAL PRIMARY KEY,
    username   VARCHAR(50) UNIQUE,
    email      VARCHAR(100) UNIQUE,
    created_at TIMESTAMP
)""",
    "products": """\
CREATE TABLE IF NOT EXISTS products (
    product_id   SERIAL PRIMARY KEY,
    product_name VARCHAR(100),
    price        NUMERIC(10,2)
)""",
    "activities": """\
CREATE TABLE IF NOT EXISTS activities (
    activity_id   SERIAL PRIMARY KEY,
    user_id       INTEGER REFERENCES users (user_id),
    activity_type VARCHAR(50),
    activity_date TIMESTAMP
)""",
    "orders": """\
CREATE TABLE IF NOT EXISTS orders (
    order_id   SERIAL PRIMARY KEY,
    user_id    INTEGER REFERENCES users (user_id),
    product_id INTEGER REFERENCES products (product_id),
    order_date TIMESTAMP,
    quantity   INTEGER
)""",
}

INDEXES: Mapping[str, str] = {
    # The last activities of a user, in order, without a sort; activity_id settles equal dates.
    "activities_user_date_idx": """\
CREATE INDEX IF NOT EXISTS activities_user_date_idx
    ON activities (user_id, activity_date, activity_id)""",
    # The orders of a user or of a product by date; PostgreSQL indexes no referring column by itself.
    "orders_user_date_idx": """\
CREATE INDEX IF NOT EXISTS orders_user_date_idx
    ON orders (user_id, order_date)""",
    "orders_product_date_idx": """\
CREATE INDEX IF NOT EXISTS orders_product_date_idx
    ON orders (product_id, order_date)""",
}

_TIMESTAMP = "timestamp without time zone"
COLUMNS: Mapping[str, Mapping[str, tuple[str, bool]]] = {
    "users": {
        "user_id": ("integer", False),
        "username": ("character varying(50)", True),
        "email": ("character varying(100)", True),
        "created_at": (_TIMESTAMP, True),
    },
    "products": {
        "product_id": ("integer", False),
        "product_name": ("character varying(100)", True),
        "price": ("numeric(10,2)", True),
    },
    "activities": {
        "activity_id": ("integer", False),
        "user_id": ("integer", True),
        "activity_type": ("character varying(50)", True),
        "activity_date": (_TIMESTAMP, True),
    },
    "orders": {
        "order_id": ("integer", False),
        "user_id": ("integer", True),
        "product_id": ("integer", True),
        "order_date": (_TIMESTAMP, True),
        "quantity": ("integer", True),
    },
}
"""What the DDL above makes, as the catalogue gives it: (type, nullable) of each column."""
UNIQUE: Mapping[str, tuple[str, ...]] = {"users": ("username", "email")}
REFERENCES: Mapping[str, Mapping[str, str]] = {
    "activities": {"user_id": "users"},
    "orders": {"user_id": "users", "product_id": "products"},
}
