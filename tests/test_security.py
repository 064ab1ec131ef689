"""Nothing secret gets out, no value gets into a command unescaped, and what is kept is its owner's alone."""

import ast
import gzip
import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import nbformat
import psutil
import psycopg2
import pytest
from migrating import run_sql
from psycopg2 import sql

from helpers import servers, settings
from helpers.errors import HelpersError
from helpers.report import notebooks
from helpers.servers import cassandra, connections, process, redis
from helpers.source import slot
from helpers.source.upstream import Upstream

SECRET = "Tell-Nobody'x%9/q"
"""Not to be found anywhere; it needs quoting in URLs, SQL, CQL and shells."""
FORMS = {SECRET, quote(SECRET, safe=""), "Tell-Nobody"}
USER = "planted"


@pytest.fixture(scope="module")
def planted(state_folder: Path) -> Iterator[dict[str, str]]:
    """URLs of the four servers by the environment's names, for a user whose password is the secret."""
    found = servers.up(progress=False)
    urls = {name: server.url or "" for name, server in found.items()}
    connection = connections.postgres(urls["postgres"])
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute(
        sql.SQL("CREATE ROLE {} SUPERUSER LOGIN PASSWORD %s").format(sql.Identifier(USER)), [SECRET]
    )
    cursor.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(USER)))
    client = connections.redis(urls["redis"])
    client.acl_setuser(
        USER, enabled=True, passwords=[f"+{SECRET}"], keys="*", channels="*", categories=["+@all"]
    )
    mongo = connections.mongodb(urls["mongodb"])
    mongo.admin.command("createUser", USER, pwd=SECRET, roles=["root"])
    session = connections.cassandra(urls["cassandra"])
    session.execute(f"CREATE ROLE IF NOT EXISTS {USER} WITH PASSWORD = %s AND LOGIN = true", (SECRET,))
    named = f"{USER}:{quote(SECRET, safe='')}@"
    places = {name: url.rpartition("@")[2] for name, url in urls.items()}
    yield {
        "POSTGRES_URL": connections.with_schema(f"postgresql://{named}{places['postgres']}", USER),
        "REDIS_URL": f"redis://{named}{places['redis'].rpartition('/')[0]}/15",
        "MONGODB_URL": f"mongodb://{named}{places['mongodb']}",
        "CASSANDRA_URL": f"cassandra://{named}{places['cassandra']}",
    }
    cursor.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(USER)))
    cursor.execute("DROP SCHEMA IF EXISTS planted_back CASCADE")
    cursor.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(USER)))
    connection.close()
    client.acl_deluser(USER)
    client.close()
    connections.redis(f"{urls['redis'].rpartition('/')[0]}/15").flushdb()
    mongo.admin.command("dropUser", USER)
    mongo.close()
    session.execute(f"DROP ROLE {USER}")
    session.cluster.shutdown()


class Watch:
    """Looks at the command lines of all processes until told to stop."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._end.wait(0.1):
            for one in psutil.process_iter(["cmdline"]):
                line = " ".join(one.info["cmdline"] or ())
                if any(form in line for form in FORMS):
                    self.seen.add(line)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        self._thread.join()


def said(*words: str, **variables: str) -> str:
    """All that a command prints."""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "ignore", "-m", "helpers", *words],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return f"{done.stdout}\n{done.stderr}"


def holds(text: str) -> bool:
    return any(form in text for form in FORMS)


def test_a_planted_secret_is_nowhere(planted: dict[str, str], tmp_path: Path) -> None:
    home = settings.home()
    reject = "INSERT INTO activities (user_id, activity_type) VALUES (1, NULL)"
    with Watch() as watch:
        shown = [said("up", "--json", **planted), said("status", **planted)]
        shown += [said("populate", **planted), said("populate", "--json", **planted)]
        run_sql(planted["POSTGRES_URL"], "ALTER TABLE activities ALTER activity_date DROP NOT NULL", reject)
        shown += [said("migrate", "--json", **planted), said("migrate", **planted)]
        connections.redis(planted["REDIS_URL"]).hset("user:1", "email", "another")
        shown += [said("verify", **planted), said("restore", "--schema", "planted_back", **planted)]
        lost = {name: _elsewhere(url) for name, url in planted.items()}
        shown += [said(command, **lost) for command in ("up", "populate", "migrate", "verify")]
        refused = {name: url.replace(USER, "nobody", 1) for name, url in planted.items()}
        shown += [said("up", "--json", **refused), said("migrate", **refused)]
    assert "rejected: 1 row" in shown[5] and "user:1" in shown[6] and "restored into" in shown[7], shown
    assert "***" in shown[0] and "refused" in "".join(shown), shown
    for text in shown:
        assert not holds(text), text
    assert not watch.seen
    kept = [
        path for path in home.rglob("*") if path.is_file() and "data" not in path.relative_to(home).parts[1:2]
    ]
    assert {"log", "server.json"} <= {path.name for path in kept}
    assert any(path.parent.name == "rejects" for path in kept)
    for path in kept:
        if path.suffix != ".jar":
            assert not holds(path.read_text(encoding="utf-8", errors="replace")), path


def _elsewhere(url: str) -> str:
    """The same URL where nobody listens."""
    return url.replace(f":{urlsplit(url).port}", f":{process.free_port()}")


def test_a_planted_secret_is_in_no_notebook(
    planted: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Neither where cells succeed nor in the traceback that a failing one leaves."""
    source = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell(cell)
            for cell in (
                "from helpers import migration, servers\n"
                "from helpers.relational import population\nfrom helpers.servers import connections",
                "[connections.postgres(), connections.redis(), servers.status()['postgres'].safe_url]",
                "population.populate(replace=True)",
                "migration.migrate(prefix='notebook:')",
                "import os\nos.environ['REDIS_URL'] = os.environ.pop('LOST')\n"
                "try:\n    connections.redis()\n"
                "except Exception as error:  # alone it would be shown without a traceback\n"
                "    raise RuntimeError(str(error)) from error",
            )
        ]
    )
    nbformat.write(source, tmp_path / "in.ipynb")
    for name, value in planted.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LOST", _elsewhere(planted["REDIS_URL"]))
    with Watch() as watch, pytest.raises(HelpersError, match="cell 5: RuntimeError: redis at ") as caught:
        notebooks.run_kernel(tmp_path / "in.ipynb", tmp_path / "out.ipynb", {}, title="in", progress=False)
    text = (tmp_path / "out.ipynb").read_text(encoding="utf-8")
    assert "Traceback" in text and "***" in text
    assert not holds(text) and not holds(str(caught.value)) and not watch.seen
    printed = capfd.readouterr()
    assert not holds(printed.out + printed.err)


def test_the_state_folder_is_its_owners_alone(planted: dict[str, str]) -> None:
    home = settings.home()
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    for name in settings.NAMES:
        assert stat.S_IMODE((home / name).stat().st_mode) == 0o700
        assert stat.S_IMODE((home / name / "password").stat().st_mode) == 0o600
    for path in (*(home / "rejects").iterdir(), *(home / "differences").iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_each_server_has_a_password_of_its_own(planted: dict[str, str]) -> None:
    words = [(settings.home() / name / "password").read_text(encoding="utf-8") for name in settings.NAMES]
    assert len(set(words)) == 4 and min(map(len, words)) >= 32


HOSTILE = (
    "a b",
    'q"q',
    "x'; DROP TABLE users; --",
    "back\\slash",
    "a,public",
    "%s",
    "é",
    "x -c work_mem=1",
)


@pytest.mark.parametrize("schema", HOSTILE)
@pytest.mark.parametrize("form", ["url", "words"])
def test_a_schema_of_any_name_is_that_schema(postgres_server: str, schema: str, form: str) -> None:
    url = postgres_server
    if form == "words":
        url = " ".join(f"{key}={value}" for key, value in psycopg2.extensions.parse_dsn(url).items())
    connection = connections.postgres(connections.with_schema(url, schema))
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
            cursor.execute("SELECT current_schema()")
            assert cursor.fetchone() == (schema,)
    finally:
        connection.close()  # nothing was committed


def test_a_slot_of_any_name_is_no_command(postgres_url: str) -> None:
    """A publication is named after its slot, whose name also stands in Redis, where others may write."""
    connection = connections.postgres(postgres_url)
    name = "helpers_follow_x; CREATE TABLE injected (); --_1"
    with Upstream(postgres_url) as upstream, pytest.raises(HelpersError, match="was not made by"):
        slot.drop(upstream, name)
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('injected')")
        assert cursor.fetchone() == (None,)
    connection.close()


def test_a_folder_of_any_name_is_no_line_of_a_configuration() -> None:
    path = Path('/a "b"\nrequirepass x\\')
    line = redis._quote(path)
    assert "\n" not in line and line == '"/a \\"b\\"\\nrequirepass x\\\\"'


WORDS = {"execute", "copy_expert", "copy_in", "stream", "chunks", "prepare", "ask", "_do"}


def built(path: Path) -> Iterator[tuple[int, str]]:
    """(line, expression) of each value that a query is built from in a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if name in WORDS and isinstance(node.args[0], ast.JoinedStr):
            for part in node.args[0].values:
                if isinstance(part, ast.FormattedValue):
                    yield node.lineno, ast.unparse(part.value)


OURS = {
    "table", "key", "query", "parent", "', '.join(schema.TABLES)",
    "SOMEBODY", "by", "self.sql", "', '.join(redis_model.COLUMNS[table])",
    "', '.join(TABLES)", "', '.join(columns)", "', '.join(reversed(TABLES))",
    "order", "LOCK_TIMEOUT_S", "USER", "KEYSPACE", "alter", "sequence",
    "column", "needed", "constraint", "definition", "schema", "form", "into",
    "more", "encoding", "name", "published",
    "columns", "add", "index", "owner", "len(self.nodes)", "self._design.nodes",
    "table.sql", "', '.join(stream.order_sql)", "held", "far", "where", "setting", "fixed", "addresses",
    "literal(constraint.comment)", "literal(index.comment)", "self._sql[table]",
    "', '.join(self._sql.values())", "furthest", "stream.where", "quoted(name)",
    "guide.score.sql", "self._schema", "names", "_columns_sql(table)", "arrays",
    "source.plan.asks_sql(guide.scored)", "fits", "kind.table.sql.replace('%', '%%')",
}  # fmt: skip
"""Names of constants, of the model's tables and columns, and of what PostgreSQL has quoted itself."""


def test_queries_are_built_from_our_own_words_only() -> None:
    found = {
        f"{path.name}:{line}": expression
        for path in (settings.project_root() / "helpers").rglob("*.py")
        for line, expression in built(path)
        if expression not in OURS and not expression.startswith("_some(chance, ")
    }
    assert not found, f"give values as parameters, names by psycopg2.sql, or add a constant above: {found}"


def test_a_password_of_any_characters_is_a_value_in_cql(planted: dict[str, str]) -> None:
    """The planted one holds a quote: it would end the literal."""
    assert cassandra.version(planted["CASSANDRA_URL"])
    assert unquote(urlsplit(planted["CASSANDRA_URL"]).password or "") == SECRET


def test_raw_samples_and_reports_are_searched_before_they_are_published(tmp_path: Path) -> None:
    from helpers.report import publication

    password = (settings.home() / "redis" / "password").read_text(encoding="utf-8")
    path = tmp_path / "samples.json.gz"
    path.write_bytes(gzip.compress(json.dumps({"url": password}).encode()))
    with pytest.raises(HelpersError, match="holds the password of redis"):
        publication.refuse(publication._text(path), path.name, publication.secrets())


def audited(*words: str) -> list[dict[str, Any]]:
    """What pip-audit says of each package; nothing where it cannot ask."""
    command = [sys.executable, "-m", "pip_audit", "--format=json", "--progress-spinner=off", "--timeout=10"]
    done = subprocess.run([*command, *words], capture_output=True, text=True, timeout=600, check=False)
    try:
        packages: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except ValueError:
        return []
    return packages


def test_no_dependency_has_a_known_vulnerability(tmp_path: Path) -> None:
    """Of the Python packages; Cassandra's jars and the servers in the wheels are not looked at."""
    old = tmp_path / "requirements.txt"
    old.write_text("jinja2==2.4.1\n", encoding="utf-8")  # CVE-2014-1402: who answers must know that
    if not any(one.get("vulns") for one in audited(f"--requirement={old}", "--no-deps", "--disable-pip")):
        pytest.skip("no service of known vulnerabilities answers here: nothing was audited")
    found = audited("--skip-editable")
    assert len(found) > 50
    assert not {one["name"]: one["vulns"] for one in found if one.get("vulns")}
