"""How the same data lie in MongoDB and in Cassandra: documents and their indexes, and tables.

No driver is imported here, so that diagrams can be drawn where no server is used.
"""

DOCUMENTS = {
    "users": (("_id", "int"), ("username", "string"), ("email", "string"), ("created_at", "long, µs")),
    "products": (("_id", "int"), ("product_name", "string"), ("price", "decimal")),
    "activities": (
        ("_id", "int"),
        ("user_id", "int"),
        ("activity_type", "string"),
        ("at", "long, µs"),
    ),
    "orders": (
        ("_id", "int"),
        ("user_id", "int"),
        ("product_id", "int"),
        ("at", "long, µs"),
        ("quantity", "int"),
    ),
}
"""Fields of MongoDB's documents and what they hold: numbers of rows, and moments as microseconds."""
INDEXES = {
    "activities": (("user_id", "at", "_id"),),
    "orders": (("user_id", "at", "_id"), ("product_id", "at", "_id")),
}
"""Fields of MongoDB's indexes by collection, each from the highest value down."""
TABLES = (
    "CREATE TABLE users (user_id int PRIMARY KEY, username text, email text, created_at_us bigint)",
    "CREATE TABLE products (product_id int PRIMARY KEY, product_name text, price decimal)",
    "CREATE TABLE activities_by_user (user_id int, at_us bigint, activity_id bigint, activity_type text, "
    "PRIMARY KEY (user_id, at_us, activity_id)) WITH CLUSTERING ORDER BY (at_us DESC, activity_id DESC)",
    "CREATE TABLE orders (order_id bigint PRIMARY KEY, user_id int, product_id int, at_us bigint, "
    "quantity int)",
    "CREATE TABLE orders_by_user (user_id int, at_us bigint, order_id bigint, product_id int, quantity int, "
    "PRIMARY KEY (user_id, at_us, order_id)) WITH CLUSTERING ORDER BY (at_us DESC, order_id DESC)",
    "CREATE TABLE orders_by_product (product_id int, at_us bigint, order_id bigint, user_id int, quantity "
    "int, "
    "PRIMARY KEY (product_id, at_us, order_id)) WITH CLUSTERING ORDER BY (at_us DESC, order_id DESC)",
)
"""Cassandra's tables, one for each question, without their keyspace."""
