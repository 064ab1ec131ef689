"""The course's model bound to its tables as they are made, without a server."""

from helpers import model
from helpers.model import FORMATS, Column, Plan, Table

COLUMNS = {
    "users": {"user_id": "integer", "username": "text", "email": "text", "created_at": "moment"},
    "products": {"product_id": "integer", "product_name": "text", "price": "numeric"},
    "activities": {
        "activity_id": "integer",
        "user_id": "integer",
        "activity_type": "text",
        "activity_date": "moment",
    },
    "orders": {
        "order_id": "integer",
        "user_id": "integer",
        "product_id": "integer",
        "order_date": "moment",
        "quantity": "integer",
    },
}
TYPES = {
    "integer": "integer",
    "text": "character varying(100)",
    "moment": "timestamp without time zone",
    "numeric": "numeric(10,2)",
}


def course(prefix: str = "", *, bounded: bool = True) -> Plan:
    """The course's plan.

    Args:
        prefix: stands before every key.
        bounded: whether texts end far below what Redis holds.
    """
    tables = {
        name: Table(
            name,
            "public",
            name,
            tuple(
                Column(column, TYPES[form], FORMATS[form], place > 0, bounded=bounded or form != "text")
                for place, (column, form) in enumerate(columns.items())
            ),
            ((next(iter(columns)),),),
        )
        for name, columns in COLUMNS.items()
    }
    return Plan(model.load(), tables, prefix)
