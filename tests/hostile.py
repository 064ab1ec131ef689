"""Schemas as hostile as PostgreSQL allows: identifiers, keys, inheritance, partitions, and more."""
# ruff: noqa: E501  # lines of SQL

import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

from helpers.servers import connections

SQL = r"""
CREATE SCHEMA "{a}"; CREATE SCHEMA "{b}"; SET search_path = "{a}", "{b}";

-- identifiers
CREATE TABLE "Mixed Case" ("Id" serial PRIMARY KEY, "select" text NOT NULL, "with space" int, "quo""te" text,
  "{{brace}}" text, "co:lon" text, "per%cent" int, "tick'" text, "naïve" text, "new
line" text, "\" text);
CREATE TABLE "order" ("user" int PRIMARY KEY, "group" text UNIQUE NOT NULL, "from" timestamptz NOT NULL);
CREATE TABLE "a b" (id int PRIMARY KEY, note text);
CREATE TABLE "a_b" (id int PRIMARY KEY, note text);
CREATE TABLE "a:b" (id int PRIMARY KEY, note text);
CREATE TABLE "a%b" (id int PRIMARY KEY, note text);
CREATE TABLE "a{{b}}" (id int PRIMARY KEY, note text);
CREATE TABLE "a""b" (id int PRIMARY KEY, note text);
CREATE TABLE "a*b?[c]" (id int PRIMARY KEY, note text);
CREATE TABLE "ein Wörterbuch 🙂" ("Schlüssel" text PRIMARY KEY, "Wert" text);
CREATE TABLE ":" (":" text PRIMARY KEY, note text);
CREATE TABLE migration (id int PRIMARY KEY, note text);
CREATE TABLE "{b}".migration (id int PRIMARY KEY, other text);
CREATE TABLE "{b}".elsewhere (id int PRIMARY KEY, other text);

-- keys
CREATE TYPE mood AS ENUM ('sad', 'so:so', '{{happy}}');
CREATE TYPE text_kind AS ENUM ('b', 'a');
CREATE DOMAIN label AS text CHECK (VALUE <> 'never');
CREATE TABLE by_text (name text PRIMARY KEY, n int);
CREATE TABLE by_uuid (id uuid PRIMARY KEY, n int);
CREATE TABLE by_day (day date, at time, kind mood, PRIMARY KEY (day, at, kind));
CREATE TABLE by_many (a int, b text, c numeric(10, 2), d timestamptz, e boolean, f label, g real, v text,
  PRIMARY KEY (a, b, c, d, e, f, g));
CREATE TABLE by_bytes (raw bytea PRIMARY KEY, v text);
CREATE TABLE by_unique (code char(4) NOT NULL UNIQUE, v text);
CREATE TABLE by_two (a int, b text NOT NULL, c text NOT NULL, UNIQUE (a, b), UNIQUE (b, c));
CREATE TYPE pair AS (a int, b text);
CREATE TABLE by_pair (p pair PRIMARY KEY, v text);
CREATE TABLE by_array (tags text[] PRIMARY KEY, span int4range, doc jsonb, v xml);
CREATE TABLE only_key (a int, b text, PRIMARY KEY (a, b));
CREATE TABLE one_key (name text PRIMARY KEY);
CREATE TABLE empty_table (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text);
CREATE TABLE made (id int PRIMARY KEY, a int NOT NULL, twice int GENERATED ALWAYS AS (a * 2) STORED);
CREATE TABLE key_and_made (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) STORED);
CREATE TABLE every_type (id int PRIMARY KEY, a smallint, b bigint, c numeric, d real, e double precision, f boolean,
  g char(5), h varchar(9), i bytea, j timestamp, k timestamptz, l date, m time, n timetz, o interval, p uuid, q json,
  r jsonb, s inet, t cidr, u macaddr, v int[], w int4range, x point, y mood, z label, aa bit(3), bb tsvector, cc money,
  dd text[], ee xml, ff oid, gg "char", hh name, ii int4multirange, jj datemultirange);

-- references
CREATE TABLE person (id int PRIMARY KEY, boss int REFERENCES person, email text NOT NULL UNIQUE);
CREATE TABLE letter (id int PRIMARY KEY, sender int NOT NULL REFERENCES person, receiver int REFERENCES person,
  copy text REFERENCES person (email), at timestamp NOT NULL, kind text_kind);
CREATE TABLE line (order_id int REFERENCES "order", number int, what text, PRIMARY KEY (order_id, number));
ALTER TABLE line ADD FOREIGN KEY (order_id) REFERENCES "order" ON DELETE CASCADE;  -- once more
CREATE TABLE part (id int PRIMARY KEY, order_id int, number int, price numeric NOT NULL,
  FOREIGN KEY (order_id, number) REFERENCES line);
CREATE TABLE likes (person int REFERENCES person, letter int REFERENCES letter, PRIMARY KEY (person, letter));
CREATE TABLE admin (person int PRIMARY KEY REFERENCES person);
CREATE TABLE profile (person int PRIMARY KEY REFERENCES person, about text);
CREATE TABLE far (id int PRIMARY KEY, m int REFERENCES "{b}".migration, k text_kind NOT NULL, o int REFERENCES "order");

-- partitions and inheritance
CREATE TABLE reading (at timestamptz NOT NULL, sensor int, v float8, PRIMARY KEY (sensor, at)) PARTITION BY RANGE (at);
CREATE TABLE reading_old PARTITION OF reading FOR VALUES FROM (MINVALUE) TO ('2026-01-01');
CREATE TABLE reading_new PARTITION OF reading FOR VALUES FROM ('2026-01-01') TO (MAXVALUE) PARTITION BY HASH (sensor);
CREATE TABLE "reading new 0" PARTITION OF reading_new FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE "reading new 1" PARTITION OF reading_new FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE gauge (id int PRIMARY KEY, sensor int, at timestamptz,
  FOREIGN KEY (sensor, at) REFERENCES reading);
CREATE TABLE parent (id int PRIMARY KEY, v text);
CREATE TABLE child (w text, PRIMARY KEY (id)) INHERITS (parent);
CREATE TABLE parent_alone (id int PRIMARY KEY, v text);
CREATE TABLE child_without (w text) INHERITS (parent_alone);

-- what cannot be held
CREATE TABLE no_key (id int, v text);
CREATE TABLE no_columns ();
CREATE TABLE null_key (id int UNIQUE, v text);
CREATE TABLE part_key (id int, v text); CREATE UNIQUE INDEX ON part_key (id) WHERE id > 0;
CREATE TABLE some_key (v text); CREATE UNIQUE INDEX ON some_key (lower(v));
CREATE VIEW seen AS SELECT * FROM person;
CREATE MATERIALIZED VIEW kept AS SELECT * FROM person;
CREATE TEMP TABLE gone (id int PRIMARY KEY);
"""
"""With {a} and {b} in place of the names of two schemas, both of them where the user looks."""
ROWS = r"""
INSERT INTO "Mixed Case" SELECT n, 's' || n, n, E'q"\\:%{}' || n, '{' || n, ':', n, '''', 'ï', E'a\nb\tc', E'\\N'
  FROM generate_series(1, 20) n;
INSERT INTO "order" SELECT n, 'g:' || n, '2026-01-01'::timestamptz + n * interval '1 h' FROM generate_series(1, 20) n;
INSERT INTO "a b" VALUES (1, 'a b'); INSERT INTO "a_b" VALUES (1, 'a_b'); INSERT INTO "a:b" VALUES (1, NULL);
INSERT INTO "a%b" VALUES (1, 'a%b'); INSERT INTO "a{b}" VALUES (1, 'x'); INSERT INTO "a""b" VALUES (1, 'x');
INSERT INTO "a*b?[c]" VALUES (1, 'x');
INSERT INTO "ein Wörterbuch 🙂" VALUES ('', 'leer'), (' ', 'ein Leerzeichen'), ('🙂:%3A', NULL), (E'a\nb', E'\r\n');
INSERT INTO ":" VALUES (':', 'x'), ('::', 'y'), ('%3A', 'z'), ('{}', NULL), ('*?[a]', '*');
INSERT INTO migration VALUES (1, 'x'), (2, NULL);
INSERT INTO "{b}".migration VALUES (1, 'y'); INSERT INTO "{b}".elsewhere VALUES (1, 'y');
INSERT INTO by_text SELECT chr(n), n FROM generate_series(1, 300) n; INSERT INTO by_text VALUES ('', 0), ('a:b', 1);
INSERT INTO by_uuid SELECT md5(n::text)::uuid, n FROM generate_series(1, 30) n;
INSERT INTO by_day VALUES ('2026-01-01', '10:00', 'sad'), ('2026-01-01', '24:00', 'so:so'),
  ('2026-01-02', '10:00:00.5', '{happy}');
INSERT INTO by_many SELECT n % 3, 'b:' || n, n / 7.0, '2026-01-01'::timestamptz + n * interval '1 us', n % 2 = 0,
  '%' || n, n / 3.0, 'v' || n FROM generate_series(1, 40) n;
INSERT INTO by_bytes VALUES ('', 'none'), ('\x00', 'zero'), ('\x3aff', 'more');
INSERT INTO by_unique VALUES ('a', 'x'), ('', 'y'), ('abcd', NULL);
INSERT INTO by_two VALUES (1, 'a', 'b'), (NULL, 'a', 'c'), (NULL, 'b', 'c');
INSERT INTO by_array VALUES ('{}', 'empty', '{"a": [1, null]}', NULL), ('{"a b",NULL,"x,y"}', '[1,5)', NULL, NULL);
INSERT INTO by_pair SELECT ROW(n % 5, 'b:' || n)::pair, 'v' FROM generate_series(1, 90) n;
INSERT INTO only_key SELECT n % 4, ':' || n FROM generate_series(1, 30) n;
INSERT INTO one_key SELECT 'k' || n FROM generate_series(1, 30) n; INSERT INTO one_key VALUES (''), ('a:b%');
INSERT INTO made SELECT n, n FROM generate_series(1, 10) n;
INSERT INTO key_and_made SELECT generate_series(1, 10);
INSERT INTO every_type (id) VALUES (1);
INSERT INTO every_type VALUES (2, -1, 2, 3.10, 0.1, 'NaN', true, 'ab', 'c', '\x00ff', 'infinity', '0044-03-15 BC', '12026-01-01',
  '24:00', '10:00:00+02:30:15', '1 mon -2 days 03:04:05.6', '00000000-0000-0000-0000-000000000001', '{"a" : 1}',
  '{"b": [1.0]}', '10.0.0.1/8', '10.0.0.0/8', '08:00:2b:01:02:03', '{1,NULL,3}', '[1,5)', '(1,2)', 'so:so', 'x',
  '101', 'a b', '1.50', '{"a,b",NULL,""}', NULL, 7, 'x', 'n', '{[1,2),[5,9)}', '{}');
INSERT INTO person SELECT n, NULLIF(n / 2, 0), 'p' || n || '@x:y' FROM generate_series(1, 30) n;
INSERT INTO letter SELECT n, 1 + n % 30, CASE n % 3 WHEN 0 THEN 1 + n % 7 END, CASE n % 4 WHEN 0 THEN 'p3@x:y' END,
  '2026-05-01'::timestamp + n * interval '1 min', NULL FROM generate_series(1, 60) n;
INSERT INTO line SELECT 1 + n % 20, n, 'what ' || n FROM generate_series(1, 60) n;
INSERT INTO part SELECT n, CASE WHEN n % 2 = 0 THEN 1 + n % 20 END, n, n FROM generate_series(1, 60) n;
INSERT INTO likes SELECT n % 30 + 1, n FROM generate_series(1, 60) n;
INSERT INTO admin VALUES (1), (7); INSERT INTO profile VALUES (1, 'about'), (2, NULL);
INSERT INTO far VALUES (1, 1, 'a', 1), (2, NULL, 'b', NULL);
INSERT INTO reading SELECT '2025-12-30'::timestamptz + n * interval '1 h', n % 5, n / 8.0 FROM generate_series(1, 90) n;
INSERT INTO gauge SELECT row_number() OVER (), sensor, at FROM reading WHERE sensor < 3; INSERT INTO gauge VALUES (0);
INSERT INTO parent VALUES (1, 'p'); INSERT INTO child VALUES (1, 'c', 'w'), (2, NULL, NULL);
INSERT INTO parent_alone VALUES (1, 'p'); INSERT INTO child_without VALUES (1, 'c', 'w');
INSERT INTO no_key VALUES (1, 'x');
"""
LEFT_OUT = {
    "child_without", "kept", "no_columns", "no_key", "null_key", "parent_alone", "part_key", "seen", "some_key",
    "reading_old", "reading_new", '"reading new 0"', '"reading new 1"',
}  # fmt: skip
"""Names of what cannot be held, or is held as another table."""


@contextmanager
def schemas(server: str, name: str, *, rows: bool = True) -> Iterator[str]:
    """The URL of a server whose search path is two schemas full of it, which are dropped afterwards.

    Args:
        server: URL of PostgreSQL.
        name: what the names of the schemas begin with.
        rows: with rows in the tables.
    """
    a, b = f"{name} A", f"{name}_b"
    connection = connections.postgres(server)
    connection.autocommit = True
    cursor = connection.cursor()
    drop = f'DROP SCHEMA IF EXISTS "{a}" CASCADE; DROP SCHEMA IF EXISTS "{b}" CASCADE'
    try:
        cursor.execute(drop)
        cursor.execute(SQL.format(a=a, b=b))
        if rows:
            cursor.execute(ROWS.replace('"{b}"', f'"{b}"'))
        path = re.sub(" ", r"\\ ", f'"{a}","{b}"')  # the server splits options at spaces
        yield f"{server}{'&' if '?' in server else '?'}options={quote(f'-csearch_path={path}', safe='')}"
    finally:
        cursor.execute(drop)
        connection.close()
