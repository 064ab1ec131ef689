"""MongoDB's idiom: one document an entity, compound indexes for each question."""

from collections.abc import Callable, Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar

import pymongo.errors
from bson.decimal128 import Decimal128
from pymongo import DESCENDING, IndexModel, WriteConcern
from pymongo.collection import Collection

from helpers.comparison.store import (
    CLIENTS,
    NAMESPACE,
    TIMEOUT_S,
    Idiom,
    Order,
    Profile,
    Seen,
    Size,
    Store,
    Traffic,
    batches,
)
from helpers.comparison.workload import TIERS
from helpers.errors import HelpersError
from helpers.relational import layouts, redis_model
from helpers.servers import connections

DATABASE = f"user_activity_{NAMESPACE}"


class MongoStore(Store):
    """Documents of ``users``, ``products``, ``activities`` and ``orders`` in a database of their own.

    Activities are documents of their own: embedded in the user they would grow a document without bound,
    up to the 16 MB limit, and each append would rewrite it.
    """

    name = "mongodb"
    NULL_OP = "ping"
    ERRORS = (pymongo.errors.PyMongoError, OSError)
    DEFINITIONS = tuple(
        f"db.{collection}.createIndex({{{', '.join(f'{field}: -1' for field in fields)}}})"
        for collection, indexes in layouts.INDEXES.items()
        for fields in indexes
    )
    IDIOMS: ClassVar = {
        "read_profile": Idiom("db.users.findOne({_id: ID})", "one document", 0),
        "last_activities": Idiom(
            "db.activities.find({user_id: ID}).sort({at: -1, _id: -1}).limit(20)", "a cursor, no snapshot", 0
        ),
        "append_activity": Idiom("db.activities.insertOne({...})", "the document and its index entry", 1),
        "place_order": Idiom(
            "db.orders.insertOne({...})", "the document and both index entries that lead back to it", 1
        ),
    }

    def __init__(self, url: str | None = None) -> None:
        super().__init__(url)
        self.client = connections.mongodb(
            self.url,
            maxPoolSize=CLIENTS,
            retryReads=False,
            retryWrites=False,
            socketTimeoutMS=int(TIMEOUT_S * 1000),
        )
        self.database = self.client[DATABASE]
        self.set_durability("relaxed")

    def create(self) -> None:
        """Make the database's collections and indexes."""
        self.drop()
        for collection, indexes in layouts.INDEXES.items():
            models = [IndexModel([(field, DESCENDING) for field in fields]) for fields in indexes]
            self.database[collection].create_indexes(models)
        for collection in ("users", "products"):
            self.database.create_collection(collection)

    def load_rows(self, table: str, rows: Iterable[Any]) -> None:
        """Insert documents in unordered batches.

        Args:
            table, rows: as for every ``Store``.
        """
        collection: Collection[dict[str, Any]] = getattr(self, table)
        for batch in batches(rows):
            collection.insert_many([DOCUMENTS[table](*row) for row in batch], ordered=False)

    def read_profile(self, user_id: int) -> Profile | None:
        """Find one document by its key."""
        found = self.users.find_one({"_id": user_id})
        return (
            None
            if found is None
            else Profile(
                found["username"], found["email"], redis_model.from_microseconds(found["created_at"])
            )
        )

    def last_activities(self, user_id: int, limit: int = 20) -> list[Seen]:
        """Find by user in the order of the index, newest first.

        Args:
            user_id, limit: as for every ``Store``.
        """
        # The first batch holds the whole answer, so that the cursor needs no second trip.
        newest = {"sort": [("at", DESCENDING), ("_id", DESCENDING)], "limit": limit, "batch_size": limit + 1}
        found = self.activities.find({"user_id": user_id}, {"activity_type": 1, "at": 1, "_id": 0}, **newest)
        return [Seen(row["activity_type"], redis_model.from_microseconds(row["at"])) for row in found]

    def append_activity(
        self, activity_id: int, user_id: int, activity_type: str, activity_date: datetime
    ) -> None:
        """Insert one document.

        Args:
            activity_id, user_id, activity_type, activity_date: as for every ``Store``.
        """
        self.activities.insert_one(_activity(activity_id, user_id, activity_type, activity_date))

    def place_order(
        self, order_id: int, user_id: int, product_id: int, order_date: datetime, quantity: int
    ) -> None:
        """Insert one document; its two index entries are the ways back from user and product.

        Args:
            order_id, user_id, product_id, order_date, quantity: as for every ``Store``.
        """
        self.orders.insert_one(_order(order_id, user_id, product_id, order_date, quantity))

    def read_order(self, order_id: int) -> Order | None:
        """Find one document by its key."""
        found = self.orders.find_one({"_id": order_id})
        if found is None:
            return None
        return Order(
            order_id,
            found["user_id"],
            found["product_id"],
            redis_model.from_microseconds(found["at"]),
            found["quantity"],
        )

    def orders_of_user(self, user_id: int) -> list[int]:
        """Find by user in the order of the index."""
        return self._order_ids({"user_id": user_id})

    def orders_of_product(self, product_id: int) -> list[int]:
        """Find by product in the order of the index."""
        return self._order_ids({"product_id": product_id})

    def _order_ids(self, question: dict[str, Any]) -> list[int]:
        found = self.orders.find(question, {"_id": 1}).sort([("at", DESCENDING), ("_id", DESCENDING)])
        return [row["_id"] for row in found]

    def null_op(self) -> None:
        """Run the ``ping`` command."""
        self.client.admin.command("ping")

    def tiers(self) -> tuple[str, ...]:
        """Both: the write concern comes with each write."""
        return TIERS

    def set_durability(self, tier: str) -> None:
        """Send every later write with ``w: 1`` and ``j`` true for strict, false for relaxed."""
        if tier not in TIERS:
            raise HelpersError(f"mongodb: no durability tier {tier!r}; choose from {', '.join(TIERS)}")
        # Without retries and with the tier on each collection: what is written is sent with this concern.
        concern = WriteConcern(w=1, j=tier == "strict")
        self.users: Collection[dict[str, Any]] = self.database.get_collection("users", write_concern=concern)
        self.products = self.database.get_collection("products", write_concern=concern)
        self.activities = self.database.get_collection("activities", write_concern=concern)
        self.orders = self.database.get_collection("orders", write_concern=concern)

    def settings(self) -> dict[str, str]:
        """Settings as the server states them, and the write concern as it received it."""
        status = self.client.admin.command("serverStatus")
        concern = self._concern_received()
        flush = self.client.admin.command({"getParameter": 1, "journalCommitInterval": 1})
        cache = status["wiredTiger"]["cache"]["maximum bytes configured"]
        return {
            "version": status["version"],
            "storage engine": status["storageEngine"]["name"],
            "write concern received": f"w:{concern.get('w')} j:{str(bool(concern.get('j'))).lower()}",
            "journal flushed at least every": f"{flush['journalCommitInterval']} ms",
            "cache": f"{cache / 1e6:.0f} MB",
            "retries": "off (driver)",
            "connections": f"at most {CLIENTS} (driver)",
        }

    def _concern_received(self) -> dict[str, Any]:
        """The write concern with which an insert of ours arrived, as the server's profiler wrote it down."""
        self.database.command("profile", 2)
        try:
            concern = self.activities.write_concern
            self.database.get_collection("probe", write_concern=concern).insert_one({"_id": 0})
            seen = self.database["system.profile"].find_one({"command.insert": "probe"})
        finally:
            self.database.command("profile", 0)
            self.database.drop_collection("system.profile")
            self.database.drop_collection("probe")
        return {} if seen is None else dict(seen["command"].get("writeConcern", {}))

    def version(self) -> str:
        """The version in ``buildInfo``."""
        return str(self.client.server_info()["version"])

    def traffic(self, operation: str, *arguments: object) -> Traffic:
        """Count requests as the server counts them."""
        # Each reading of the counter is itself one request; the driver's monitor may add one, so the least
        # of three.
        counts = []
        for _ in range(3 if operation in ("read_profile", "last_activities", "null_op") else 1):
            before = self._requests()
            getattr(self, operation)(*arguments)
            counts.append(self._requests() - before - 1)
        return Traffic(min(counts), min(counts))

    def _requests(self) -> int:
        return int(self.client.admin.command("serverStatus")["network"]["numRequests"])

    def size(self) -> Size:
        """Bytes in the cache, and in files after a checkpoint."""
        return self._size(("users", "products", "activities", "orders"))

    def activity_size(self) -> Size:
        """Bytes of the collection of activities and its indexes, in the cache and in files."""
        return self._size(("activities",))

    def _size(self, collections: Iterable[str]) -> Size:
        self.client.admin.command("fsync")
        memory = disk = 0
        for collection in collections:
            stats = self.database.command("collStats", collection, indexDetails=True)
            memory += stats["wiredTiger"]["cache"]["bytes currently in the cache"]
            memory += sum(i["cache"]["bytes currently in the cache"] for i in stats["indexDetails"].values())
            disk += stats["storageSize"] + stats["totalIndexSize"]
        return Size(memory, disk, "collStats after fsync: cached bytes; storageSize and totalIndexSize")

    def server_cpu_s(self) -> float | None:
        """From ``serverStatus``, where the platform gives it."""
        used = self.client.admin.command("serverStatus")["extra_info"]
        if "user_time_us" not in used:
            return None
        return float(used["user_time_us"] + used["system_time_us"]) / 1e6

    def server_rss_mb(self) -> float | None:
        """From ``serverStatus``."""
        resident = self.client.admin.command("serverStatus")["mem"].get("resident")
        return None if resident is None else float(resident) * 1.048576

    def drop(self) -> None:
        """Drop the database."""
        self.client.drop_database(DATABASE)

    def close(self) -> None:
        """Disconnect."""
        self.client.close()


def _user(user_id: int, username: str, email: str, created_at: datetime) -> dict[str, Any]:
    return {
        "_id": user_id,
        "username": username,
        "email": email,
        "created_at": redis_model.microseconds(created_at),
    }


def _product(product_id: int, product_name: str, price: Decimal) -> dict[str, Any]:
    return {"_id": product_id, "product_name": product_name, "price": Decimal128(price)}


def _activity(activity_id: int, user_id: int, activity_type: str, activity_date: datetime) -> dict[str, Any]:
    return {
        "_id": activity_id,
        "user_id": user_id,
        "activity_type": activity_type,
        "at": redis_model.microseconds(activity_date),
    }


def _order(
    order_id: int, user_id: int, product_id: int, order_date: datetime, quantity: int
) -> dict[str, Any]:
    return {
        "_id": order_id,
        "user_id": user_id,
        "product_id": product_id,
        "at": redis_model.microseconds(order_date),
        "quantity": quantity,
    }


DOCUMENTS: dict[str, Callable[..., dict[str, Any]]] = {
    "users": _user,
    "products": _product,
    "activities": _activity,
    "orders": _order,
}
"""The document of a row of each table."""
