"""The model's order in a cluster: a transaction whose keys lie in several hash slots."""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import redis as redis_py
from redis.cluster import RedisCluster
from redis.crc import key_slot
from redis.exceptions import RedisClusterException

from helpers import model
from helpers.errors import first_line
from helpers.servers import redis_cluster, redis_nodes

WAYS: dict[str, tuple[str, ...]] = {
    "as in the model": (model.order_key(1), model.user_orders_key(1), model.product_orders_key(1)),
    "hash tag of the user": ("order:{user:1}:1", "{user:1}:orders", model.product_orders_key(1)),
    "hash tag of the user, the product apart": ("order:{user:1}:1", "{user:1}:orders"),
    "one hash tag for all": ("{shop}order:1", "{shop}user:1:orders", "{shop}product:1:orders"),
}
"""Keys of the transaction by the way of naming them: the order, and where it is referred to."""
ROW = (1, 1, 1, datetime(2026, 1, 1), 1)
SCRIPT = """
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
for i = 2, #KEYS do redis.call('ZADD', KEYS[i], ARGV[1], 1) end
return #KEYS
"""
CAUGHT = (redis_py.RedisError, RedisClusterException, OSError)


def order_transactions(nodes: redis_cluster.Cluster, client: RedisCluster) -> list[dict[str, Any]]:
    """Place an order with each way of naming its keys, and remove it again.

    Returns:
        For each way: ``way``, ``keys`` (slot of each), ``nodes`` (how many of them own the keys), ``driver``
        (what redis-py says of MULTI/EXEC) and ``server`` (what the owner of the order says of a script that
        does the same); empty text where the order was placed.
    """
    found = []
    for way, keys in WAYS.items():
        slots = {key: key_slot(key.encode()) for key in keys}
        owners = {client.get_node_from_key(key).port for key in keys}
        node = next(node for node in nodes.nodes if node.port == client.get_node_from_key(keys[0]).port)
        found.append(
            {
                "way": way,
                "keys": slots,
                "nodes": len(owners),
                "driver": _refusal(partial(_transaction, client, keys)),
                "server": _refusal(partial(_script, node.url, keys)),
            }
        )
        for key in keys:
            client.delete(key)
    return found


def _refusal(place: Callable[[], object]) -> str:
    try:
        place()
    except CAUGHT as error:
        code = getattr(error, "status_code", None) or ""  # redis-py cuts it off the server's words
        return f"{getattr(code, 'value', code)} {first_line(error)}".strip()
    return ""


def _transaction(client: RedisCluster, keys: tuple[str, ...]) -> None:
    moment = model.microseconds(ROW[3])
    with client.pipeline(transaction=True) as pipe:
        pipe.hset(keys[0], mapping=model.encode_row("orders", ROW))
        for key in keys[1:]:
            pipe.zadd(key, {str(ROW[0]): moment})
        pipe.execute()


def _script(url: str, keys: tuple[str, ...]) -> None:
    place = urlsplit(url)
    with redis_py.Redis(
        host=place.hostname or "", port=place.port or 0, password=place.password, **redis_nodes.PLAIN
    ) as client:
        pairs = [part for pair in model.encode_row("orders", ROW).items() for part in pair]
        client.eval(SCRIPT, len(keys), *keys, model.microseconds(ROW[3]), *pairs)
