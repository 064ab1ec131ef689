"""The stores that are compared, PostgreSQL as the base line first: each works in its own idiom."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress

from helpers.comparison.cassandra import CassandraStore
from helpers.comparison.mongodb import MongoStore
from helpers.comparison.postgres import PostgresStore
from helpers.comparison.redis import RedisStore
from helpers.comparison.store import Store
from helpers.errors import HelpersError

STORES: dict[str, type[Store]] = {
    store.name: store for store in (PostgresStore, RedisStore, MongoStore, CassandraStore)
}
"""The class of each store, in the order in which they are shown."""

NAMES: Sequence[str] = tuple(STORES)


def connect(name: str, url: str | None = None) -> Store:
    """A store connected to a server, the resolved one when no URL is given.

    Raises:
        HelpersError: the name is not one of ``NAMES``, or the server cannot be reached.
    """
    if name not in STORES:
        raise HelpersError(f"{name}: no such store; choose from {', '.join(NAMES)}")
    return STORES[name](url)


@contextmanager
def opened(name: str, url: str | None = None) -> Iterator[Store]:
    """``connect`` to a store whose data are removed and settings put back at the end, also when its server is
    gone by then.

    Args:
        name: one of ``NAMES``.
        url: of its server; the resolved one when None.

    Raises:
        HelpersError: in place of what its driver raises inside.
    """
    store = connect(name, url)
    try:
        yield store
    except OSError:  # may be of a disk, too
        raise
    except store.ERRORS as error:
        raise store.failed(error) from error
    finally:
        with suppress(*store.ERRORS):
            store.drop()
        store.close()


@contextmanager
def all_opened(urls: Mapping[str, str] | None = None) -> Iterator[dict[str, Store]]:
    """Every store by its name, each as ``opened`` gives it.

    Args:
        urls: of the servers, by name; the resolved ones where none is given.
    """
    with ExitStack() as stack:
        yield {name: stack.enter_context(opened(name, (urls or {}).get(name))) for name in NAMES}
