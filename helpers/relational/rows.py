"""Rows for the four tables, made by Faker: any number of them, one at a time, the same for the same seed.

Nothing is remembered from row to row. What must hold between rows holds by construction: names are unique
because they end with their id, and the moment a user registered is a function of the seed and the id, so that
whatever the user does can be placed after it.
"""

import hashlib
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from faker import Faker

from helpers.errors import HelpersError
from helpers.relational.schema import Activity, Order, Product, User
from helpers.settings import ACTIVITY_TYPES

REFERENCE = datetime(2026, 1, 1)
"""Every row's moment lies in the year before this one."""

YEAR_US = 365 * 86_400 * 1_000_000
LAST_DAY_US = 86_400 * 1_000_000  # nobody registers on the last day: everybody has time to do something
ACTIVITY_WEIGHTS = (25, 15, 45, 15)
QUANTITIES = (1, 2, 3, 4, 5)
QUANTITY_WEIGHTS = (30, 25, 20, 15, 10)
PRICE_CENTS = (1_000, 10_000)
THINGS = (
    *("Backpack", "Bicycle", "Blanket", "Bookshelf", "Bottle", "Camera", "Candle", "Chair", "Clock", "Coat"),
    *("Cushion", "Desk", "Headphones", "Helmet", "Jacket", "Kettle", "Keyboard", "Lamp", "Mirror", "Mug"),
    *("Notebook", "Pan", "Radio", "Rug", "Scarf", "Shoes", "Speaker", "Tent", "Umbrella", "Watch"),
)
POOL = 1_000  # Faker takes microseconds to milliseconds a call: rows draw from pools that it filled
LARGEST_ID = 2**31 - 1
_GOLDEN = 0x9E3779B97F4A7C15
_MASK = 2**64 - 1


class Rows:
    """The rows of one population.

    Each method gives a fresh iterator over the same rows, in order of their ids, which count from 1.

    Args:
        users, products, activities, orders: how many rows of each, at least 1.
        seed: what the rows depend on, together with the counts.
        reference: the moment before which everything happens.

    Raises:
        HelpersError: a count is below 1 or above what an INTEGER key can number.
    """

    def __init__(
        self,
        *,
        users: int = 20,
        products: int = 15,
        activities: int = 20,
        orders: int = 20,
        seed: int = 42,
        reference: datetime = REFERENCE,
    ) -> None:
        self.counts = {"users": users, "products": products, "activities": activities, "orders": orders}
        for table, number in self.counts.items():
            if not 1 <= number <= LARGEST_ID:
                raise HelpersError(f"--{table} {number}: give a whole number from 1 to {LARGEST_ID:,}")
        self.seed = seed
        self._start = reference - timedelta(microseconds=YEAR_US)
        digest = hashlib.sha256(f"{seed} registrations".encode()).digest()
        self._offset = int.from_bytes(digest[:8], "big")

    def table(self, name: str) -> Iterator[tuple[Any, ...]]:
        """The rows of a table by its name."""
        makers: dict[str, Callable[[], Iterator[tuple[Any, ...]]]] = {
            "users": self.users,
            "products": self.products,
            "activities": self.activities,
            "orders": self.orders,
        }
        return makers[name]()

    def users(self) -> Iterator[User]:
        """``(user_id, username, email, created_at)``: registered in the order of their ids over the year."""
        fake = self._faker("users")
        draw = fake.random
        first = [_plain(fake.first_name()) for _ in range(POOL)]
        last = [_plain(fake.last_name()) for _ in range(POOL)]
        domains = sorted({fake.safe_domain_name() for _ in range(50)})
        for user_id in range(1, self.counts["users"] + 1):
            username = f"{draw.choice(first)}.{draw.choice(last)}{user_id}"
            moment = self._start + timedelta(microseconds=self._registered_us(user_id))
            yield user_id, username, f"{username}@{draw.choice(domains)}", moment

    def products(self) -> Iterator[Product]:
        """``(product_id, product_name, price)``: no name twice, prices from 10.00 to 100.00."""
        fake = self._faker("products")
        draw = fake.random
        colours = sorted({fake.safe_color_name().title() for _ in range(POOL)})
        names = [f"{colour} {thing}" for colour in colours for thing in THINGS]
        draw.shuffle(names)
        for product_id in range(1, self.counts["products"] + 1):
            series, place = divmod(product_id - 1, len(names))
            name = f"{names[place]} {series + 1}" if series else names[place]
            yield product_id, name, Decimal(draw.randint(*PRICE_CENTS)).scaleb(-2)

    def activities(self) -> Iterator[Activity]:
        """``(activity_id, user_id, activity_type, activity_date)``: early users do more; not by date."""
        draw = self._faker("activities").random
        types = draw.choices(ACTIVITY_TYPES, ACTIVITY_WEIGHTS, k=64 * POOL)
        for activity_id in range(1, self.counts["activities"] + 1):
            user_id = self._skewed(draw.random(), "users")
            kind = types[int(draw.random() * len(types))]
            yield activity_id, user_id, kind, self._after_registration(user_id, draw.random())

    def orders(self) -> Iterator[Order]:
        """``(order_id, user_id, product_id, order_date, quantity)``: some products sell more; not by date."""
        draw = self._faker("orders").random
        quantities = draw.choices(QUANTITIES, QUANTITY_WEIGHTS, k=64 * POOL)
        for order_id in range(1, self.counts["orders"] + 1):
            user_id = self._skewed(draw.random(), "users")
            product_id = self._skewed(draw.random(), "products")
            moment = self._after_registration(user_id, draw.random())
            yield order_id, user_id, product_id, moment, quantities[int(draw.random() * len(quantities))]

    def checksum(self, table: str) -> str:
        """SHA-256 over all rows of a table, made anew: equal exactly when the rows are equal."""
        digest = hashlib.sha256()
        for row in self.table(table):
            digest.update(f"{row!r}\n".encode())
        return digest.hexdigest()

    def _faker(self, table: str) -> Faker:
        # A generator for each table: the order in which tables are asked for does not matter.
        fake = Faker("en_US")
        fake.seed_instance(f"{self.seed} {table}")
        return fake

    def _registered_us(self, user_id: int) -> int:
        """Microseconds from the year's start: each user has a slot of it, and a place there."""
        place = _mixed(user_id * _GOLDEN + self._offset)
        return (YEAR_US - LAST_DAY_US) * (((user_id - 1) << 64) + place) // (self.counts["users"] << 64)

    def _after_registration(self, user_id: int, fraction: float) -> datetime:
        registered = self._registered_us(user_id)
        return self._start + timedelta(
            microseconds=registered + 1 + int(fraction * (YEAR_US - registered - 1))
        )

    def _skewed(self, fraction: float, table: str) -> int:
        """An id; its density falls with the square root of the id: few have much, most have little."""
        return 1 + int(fraction * fraction * self.counts[table])


def _mixed(number: int) -> int:
    """64 bits that look random, from any integer: the SplitMix64 of Steele, Lea and Flood (OOPSLA 2014)."""
    number &= _MASK
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & _MASK
    return number ^ (number >> 31)


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if "a" <= letter <= "z")
