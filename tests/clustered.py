"""A cluster in a test: its URL, what it holds, and a source with rows that are hard to hold."""

import contextlib
from typing import Any

from migrating import dump

from helpers.errors import HelpersError
from helpers.servers.redis_cluster import Cluster

STATE = "migration:{state}"
"""The key of a migration's state in a cluster."""
HOSTILE = """
ALTER TABLE products ALTER product_name TYPE text;
INSERT INTO users VALUES (-7, E'a\\r\\n*1\\r\\n$4\\r\\nQUIT\\r\\n', '{x}', NULL), (0, '', NULL, NULL),
  (100, 'no one''s', NULL, '9999-12-31 23:59:59.999999'), (101, NULL, NULL, NULL);
INSERT INTO products VALUES (-1, E'\\r\\n', 'NaN'), (50, repeat('é', 70000), NULL);
INSERT INTO activities
  SELECT 1000 + n, -7, CASE n % 3 WHEN 0 THEN E'{\\r\\n}' ELSE 't:' || n END, timestamp '2026-01-01' + n / 2 *
  interval '1 s' FROM generate_series(1, 12000) n;
INSERT INTO activities VALUES (40001, 100, 'late', '9000-01-01'), (40000, 100, 'later',
  '9000-01-01 00:00:00.000001'), (40002, 0, '', '0001-01-01'), (40003, 0, NULL, now());
INSERT INTO orders VALUES (-3, NULL, NULL, NULL, 0), (700, -7, -1, '1500-01-01', NULL);
"""
"""Text that looks like the protocol, empty and wide text, a list longer than a script's stack, equal moments,
moments that a double cannot tell apart, rows that must be rejected."""


def held(cluster: Cluster, but: bytes = b"migration:") -> dict[bytes, Any]:
    """Everything in the cluster but the bookkeeping; no key is on two nodes."""
    found: dict[bytes, Any] = {}
    for node in cluster.masters():
        part = dump(node.url, but)
        assert not found.keys() & part.keys()
        found |= part
    return found


def empty(cluster: Cluster) -> None:
    for node in cluster.masters():
        node.ask("FLUSHALL")


def state(cluster: Cluster) -> dict[str, str]:
    """As the node that has it answers, at once: a client of the whole cluster would ask all of them first."""
    for node in cluster.nodes:
        with contextlib.suppress(HelpersError):
            return dict(node.ask("HGETALL", STATE))
    return {}
