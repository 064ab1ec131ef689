"""Redis' contents of the course before and after the model became data: the same, byte for byte.

``course_before.json`` holds what the last version whose engine knew four tables (commit 9c7bbdd) made of the
rows below: every key, field by field, element by element, score by score, and how many rows it rejected.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from migrating import migrate, run_sql

from helpers.relational import schema
from helpers.servers import connections

BEFORE = Path(__file__).with_name("course_before.json")
ROWS = r"""
INSERT INTO users VALUES
  (1, 'ada', 'ada@example.org', '2026-01-02 03:04:05.000006'), (2, NULL, 'only@example.org', NULL),
  (3, '', NULL, NULL), (4, E'Zoë\t"Ω" \\ :{%}\r\n', '日本@例え.jp', '0001-01-01 00:00:00'),
  (5, '👩‍🚀', 'e5', '9999-12-31 23:59:59.999999'), (6, 'before', 'b6', '1684-07-28 23:59:59.999999'),
  (7, 'sep', 'a,b;c|d', '1970-01-01'), (-8, 'minus', 'm8', '1969-12-31 23:59:59.999999'),
  (2147483647, 'most', 'm9', '2255-06-05 23:47:34.740993'),
  (20, NULL, NULL, NULL), (21, 'far', 'f21', '10000-01-01'), (22, 'bc', 'b22', '0044-03-15 BC'),
  (23, 'never', 'n23', 'infinity');
INSERT INTO products VALUES
  (1, 'Lamp', 19.90), (2, 'Ünïcode: 50% {off}', 0.00), (3, NULL, 1), (4, 'nothing', NULL), (5, '', 'NaN'),
  (6, 'dear', 99999999.99), (7, 'owed', -0.05), (0, 'none', 5.5), (20, NULL, NULL);
INSERT INTO activities VALUES
  (1, 1, 'login', '2026-02-01 10:00:00'), (2, 1, 'a:b:c', '2026-02-01 10:00:00'), (3, 1, '', '2026-01-31'),
  (10, 1, 'login', '2026-02-01 10:00:00'), (9, 1, 'login', '2026-02-01 10:00:00.000001'),
  (4, 2, E'tab\tline\nΩ', '1969-07-20 20:17:40'), (5, 2, 'view_product', '0001-01-01'),
  (6, 2, '%7B{}', '9999-12-31 23:59:59.999999'), (-7, 2, 'minus', '2000-02-29 12:34:56.789'),
  (8, -8, '👩‍🚀', '1684-07-28 23:59:59.999999'),
  (31, 5, 'later number', '9998-01-01 00:00:00.000001'),
  (30, 5, 'falls together', '9998-01-01 00:00:00.000002'),
  (32, 5, 'after', '9998-01-01 00:00:01'), (33, 5, 'same', '2255-06-05 23:47:34.740993'),
  (34, 5, 'same', '2255-06-05 23:47:34.740992'),
  (40, NULL, 'login', '2026-01-01'), (41, 1, NULL, '2026-01-01'), (42, 1, 'login', NULL),
  (43, 1, 'login', '-infinity'), (44, 1, 'login', '10000-01-01'), (45, 1, 'login', '0002-01-01 BC');
INSERT INTO orders VALUES
  (1, 1, 1, '2026-03-01 00:00:00.5', 2), (2, 1, 2, '2026-03-01 00:00:00.5', -1),
  (3, 1, NULL, '2026-03-02', 0),
  (4, NULL, 1, '2026-03-03', NULL), (5, 2, 1, NULL, 2147483647), (6, NULL, NULL, NULL, 7),
  (7, -8, 0, '0001-01-01', 1), (8, 2147483647, 7, '9999-12-31 23:59:59.999999', 1),
  (9, 5, 6, '2255-06-05 23:47:34.740993', 1), (10, 5, 6, '2255-06-05 23:47:34.740992', 1),
  (11, 1, 1, '1999-12-31 23:59:59.999999', NULL),
  (20, NULL, NULL, NULL, NULL), (21, 1, 1, 'infinity', 1);
"""


def contents(url: str, prefix: str = "") -> dict[str, Any]:
    """(type, value) of every key but the bookkeeping, without the prefix; scores as shortest text."""
    client: Any = connections.redis(url, decode_responses=True)
    found = {}
    for key in client.scan_iter(count=1000):
        if not key.startswith(f"{prefix}migration:"):
            assert key.startswith(prefix)
            kind = client.type(key)
            found[key.removeprefix(prefix)] = [kind, READ[kind](client, key)]
    client.close()
    return found


READ: dict[str, Any] = {
    "hash": lambda client, key: client.hgetall(key),
    "list": lambda client, key: client.lrange(key, 0, -1),
    "zset": lambda client, key: [[m, repr(s)] for m, s in client.zrange(key, 0, -1, withscores=True)],
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prefix", "options"),
    [("", {}), ("p%:", {"batch_rows": 1}), ("", {"workers": 2})],
    ids=["as it is", "a prefix, and a row at a time", "two workers"],
)
def test_redis_holds_what_it_held_before(
    postgres_url: str, redis_url: str, prefix: str, options: dict[str, Any]
) -> None:
    before = json.loads(BEFORE.read_text(encoding="utf-8"))
    with connections.postgres(postgres_url) as connection:
        schema.create(connection)
    connection.close()
    run_sql(postgres_url, ROWS)
    result = migrate(postgres_url, redis_url, prefix=prefix, **options)
    assert result["rejects_by_reason"] == before["rejects_by_reason"]
    assert contents(redis_url, prefix) == before["keys"]


def test_the_dump_has_what_it_is_meant_to_have() -> None:
    """A golden file that lost its hard cases would prove nothing."""
    before = json.loads(BEFORE.read_text(encoding="utf-8"))
    keys = before["keys"]
    assert {kind for kind, _ in keys.values()} == {"hash", "list", "zset"} and len(keys) == 45
    assert sum(before["rejects_by_reason"].values()) == 15
    assert keys["user:2"] == ["hash", {"email": "only@example.org"}]
    assert keys["product:5"] == ["hash", {"name": "", "price": "NaN"}]
    assert keys["user:1:activities"][1][1:3] == [
        "login:2026-02-01T10:00:00.000000",
        "a:b:c:2026-02-01T10:00:00.000000",
    ]
