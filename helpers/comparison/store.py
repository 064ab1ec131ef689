"""What every store can do: the operations that are compared, and what surrounds them."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, ClassVar, NamedTuple, Self, TypeVar

from helpers import settings
from helpers.errors import HelpersError, first_line
from helpers.relational import schema


class Profile(NamedTuple):
    """The answer of ``read_profile``."""

    username: str
    email: str
    created_at: datetime


class Seen(NamedTuple):
    """One element of the answer of ``last_activities``."""

    activity_type: str
    activity_date: datetime


class Order(NamedTuple):
    """The answer of ``read_order``."""

    order_id: int
    user_id: int
    product_id: int
    order_date: datetime
    quantity: int


NAMESPACE = "comparison"
"""What the stores call their own keys, database and keyspace; nothing outside is touched."""

CLIENTS = 16
"""The most threads that use one store at once; connection pools are sized for it."""

TIMEOUT_S = 10.0
"""How long one operation may take before it counts as an error; nothing is retried behind the clock's
back.
"""

BATCH_ROWS = 1000
"""Rows that are sent together while loading."""

T = TypeVar("T")


def batches(items: Iterable[T], size: int = BATCH_ROWS) -> Iterator[list[T]]:
    """The items in their order, so many at a time."""
    source = iter(items)
    while batch := list(islice(source, size)):
        yield batch


@dataclass(frozen=True)
class Size:
    """What a store's own data take; None where the server does not say, with the reason in ``how``."""

    memory_bytes: int | None
    disk_bytes: int | None
    how: str


@dataclass(frozen=True)
class Traffic:
    """What one operation sends: requests that wait for an answer, and statements inside them."""

    round_trips: int
    statements: int


@dataclass(frozen=True)
class Idiom:
    """How a store does one operation: its commands, what is atomic, and records written for one logical
    write.
    """

    commands: str
    atomic: str
    records_written: int


class Store(ABC):
    """A connection to one server with the operations that are compared; usable from ``CLIENTS`` threads.

    Answers are the tuples above, equal between stores for equal data: dates to the microsecond, activities
    newest first (equal dates: highest id first), None for a user who does not exist.
    """

    name: ClassVar[str]
    ERRORS: ClassVar[tuple[type[Exception], ...]]
    """What the driver raises when an operation fails."""
    IDIOMS: ClassVar[Mapping[str, Idiom]]
    """How each operation is done, by its name."""
    NULL_OP: ClassVar[str]
    """What ``null_op`` asks, as it is shown."""
    DEFINITIONS: ClassVar[tuple[str, ...]] = ()
    """The statements that define tables and indexes before the first row."""

    def __init__(self, url: str | None = None) -> None:
        if url is None:
            from helpers import servers

            url = servers.url(self.name)
        self.url = url

    @property
    def address(self) -> str:
        """``host:port`` of the server."""
        return settings.address(self.url)

    def failed(self, error: BaseException) -> HelpersError:
        """What is said when the server failed, or stopped answering, outside of a timed operation."""
        return HelpersError(
            f"{self.name} at {self.address}: {first_line(error)}; nothing was saved, see that the server "
            "runs (`python -m helpers status`) and measure again"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @abstractmethod
    def create(self) -> None:
        """Make the empty keyspace, tables and indexes anew; whatever an earlier comparison left is
        removed.
        """

    def join(self) -> None:
        """Make ready for the operations, relaxed, on what another process has created and loaded."""
        return

    def load(
        self,
        *,
        users: Iterable[schema.User],
        products: Iterable[schema.Product],
        activities: Iterable[schema.Activity],
        orders: Iterable[schema.Order],
    ) -> None:
        """Store the rows of all tables.

        Args:
            users, products, orders: rows with the columns in PostgreSQL's order.
            activities: rows too; sorted by user, date and id.
        """
        tables = {"users": users, "products": products, "activities": activities, "orders": orders}
        for table, rows in tables.items():
            self.load_rows(table, rows)

    @abstractmethod
    def load_rows(self, table: str, rows: Iterable[Any]) -> None:
        """Store the rows of one table, many at a time.

        Args:
            table: ``users``, ``products``, ``activities`` or ``orders``.
            rows: as ``load`` takes them.
        """

    @abstractmethod
    def read_profile(self, user_id: int) -> Profile | None:
        """A user's name, email and date of creation, or None."""

    @abstractmethod
    def last_activities(self, user_id: int, limit: int = 20) -> list[Seen]:
        """The newest activities of a user, newest first.

        Args:
            user_id: whose.
            limit: at most so many.
        """

    @abstractmethod
    def append_activity(
        self, activity_id: int, user_id: int, activity_type: str, activity_date: datetime
    ) -> None:
        """Add an activity of a user.

        Args:
            activity_id: none that is there.
            user_id: whose.
            activity_type: any text.
            activity_date: to the microsecond, without a zone.
        """

    @abstractmethod
    def place_order(
        self, order_id: int, user_id: int, product_id: int, order_date: datetime, quantity: int
    ) -> None:
        """Add an order, and the ways back to it from its user and its product.

        Args:
            order_id: none that is there.
            user_id: who orders.
            product_id: what.
            order_date: to the microsecond, without a zone.
            quantity: pieces.
        """

    @abstractmethod
    def read_order(self, order_id: int) -> Order | None:
        """An order, or None."""

    @abstractmethod
    def orders_of_user(self, user_id: int) -> list[int]:
        """The ids of a user's orders, newest first."""

    @abstractmethod
    def orders_of_product(self, product_id: int) -> list[int]:
        """The ids of a product's orders, newest first."""

    @abstractmethod
    def null_op(self) -> None:
        """The cheapest question that can be put to the server on the driver's connection: what an operation
        costs before it does anything.
        """

    @abstractmethod
    def tiers(self) -> tuple[str, ...]:
        """The durability tiers that the live server can be measured in."""

    @abstractmethod
    def set_durability(self, tier: str) -> None:
        """Use a tier of ``tiers()`` from now on; ``close`` puts back what was found.

        Raises:
            HelpersError: the live server cannot do it.
        """

    @abstractmethod
    def settings(self) -> dict[str, str]:
        """Settings that bear on durability and speed, read back from the live server."""

    @abstractmethod
    def version(self) -> str:
        """The server's version."""

    @abstractmethod
    def traffic(self, operation: str, *arguments: object) -> Traffic:
        """Do one operation and count what was sent for it.

        Args:
            operation: its name.
            arguments: its own.
        """

    @abstractmethod
    def size(self) -> Size:
        """What the store's own data take now."""

    @abstractmethod
    def activity_size(self) -> Size:
        """What the structures that hold activities take now, indexes included; written to files first."""

    @abstractmethod
    def server_cpu_s(self) -> float | None:
        """Processor seconds the server has used since its start, None where it cannot be known."""

    @abstractmethod
    def server_rss_mb(self) -> float | None:
        """Resident memory of the server in megabytes, None where it cannot be known."""

    @abstractmethod
    def drop(self) -> None:
        """Remove the store's own data, all of it and nothing else."""

    @abstractmethod
    def close(self) -> None:
        """Put the server's settings back as they were found, and disconnect."""
