"""``python -m helpers COMMAND``.

Exit codes: 0 done; 1 done, but with differences or rejected rows; 2 it could not be done.
"""

import argparse
import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from helpers import settings
from helpers.errors import HelpersError, os_refusal
from helpers.migration import PATIENCE

DONE, DIFFERENT, FAILED = 0, 1, 2
ROWS = {"users": 20, "products": 15, "activities": 20, "orders": 20, "seed": 42}
INTERRUPTED = 130
EPILOG = (
    "`python -m helpers COMMAND --help` explains each. Exit codes: 0 done; 1 done, but with differences or "
    "rejected rows; 2 it could not be done, and one line on stderr says what, where, why and the remedy."
)
MEASURING = "what was being measured is not saved; the same command begins anew"


class Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line."""

    def error(self, message: str) -> NoReturn:
        """Print the complaint with the remedy, and exit with 2."""
        self.exit(FAILED, f"{self.prog}: {message}; see `{self.prog} --help`\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: the words after ``python -m helpers``; those of the process when None.

    Returns:
        The exit code.
    """
    options = build_parser().parse_args(arguments)
    try:
        _check_text(options)
        with _told_to_end():
            return int(options.run(options))
    except HelpersError as error:
        print(f"helpers {options.command}: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt as error:
        print(f"helpers {options.command}: interrupted; {options.interrupted or error}", file=sys.stderr)
        return INTERRUPTED
    except ModuleNotFoundError as error:  # the engine alone is installed
        name = (error.name or "").partition(".")[0]
        if name in ("", "helpers"):
            raise
        print(
            f"helpers {options.command}: the Python package {name} is not installed, which the course needs; "
            "in the project's folder `pip install -r requirements.txt`, or install the wheel with its extra "
            "[course]",
            file=sys.stderr,
        )
        return FAILED
    except BrokenPipeError:
        sys.stderr.close()
        return FAILED
    except OSError as error:  # no space, no permission
        print(f"helpers {options.command}: {os_refusal(error)}", file=sys.stderr)
        return FAILED
    except Exception as error:  # a server went away where nobody expected it
        from helpers.servers import connections

        told = connections.unexpected(error)
        if told is None:
            raise
        print(f"helpers {options.command}: {told}", file=sys.stderr)
        return FAILED


def _check_text(options: argparse.Namespace) -> None:
    """Refuse a name or URL that is no text: Python takes any bytes of a command line."""
    for name, value in vars(options).items():
        if isinstance(value, str) and value != value.encode("utf-8", "ignore").decode():
            raise HelpersError(f"--{name} {value!r} is not UTF-8; give it in that encoding")


@contextmanager
def _told_to_end() -> Iterator[None]:
    """Takes SIGTERM as an interrupt: what is under way is given back, not dropped."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = Parser(
        prog="python -m helpers", description="The servers, steps and reports of the course.", epilog=EPILOG
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)
    for run, help, options, interrupted, epilog in COMMANDS:
        name, description = run.__name__.removeprefix("_"), help[0].upper() + help[1:] + "."
        added = commands.add_parser(name, help=help, description=description, epilog=epilog)
        for named, about in options:
            added.add_argument(named, **about)
        added.set_defaults(run=run, interrupted=interrupted)
    return parser


Option = tuple[str, dict[str, Any]]
"""The name of an option, and what else ``add_argument`` is told."""
Run = Callable[[argparse.Namespace], int]
"""Does what a command is for, and gives the exit code."""
COMMANDS: list[tuple[Run, str, Sequence[Option], str, str | None]] = []
"""What ``command`` was told of each, in the order in which they are shown."""


def command(
    help: str, *options: Option, interrupted: str = "nothing was changed", epilog: str | None = None
) -> Callable[[Run], Run]:
    """Make a function the command of its name, without the line before it.

    Args:
        help: what it does, in the list of commands and at the head of its own help.
        options: in the order in which they are shown.
        interrupted: what is said when it is interrupted; where empty, the interrupt itself says it.
        epilog: stands at the end of its help.
    """

    def add(run: Run) -> Run:
        COMMANDS.append((run, help, options, interrupted, epilog))
        return run

    return add


def option(name: str, help: str, **about: Any) -> Option:
    """An option with a value, or, without dashes, an argument.

    Args:
        name: with the dashes that it begins with.
        help: what it is, in the help of its command.
        about: what else ``add_argument`` is told.
    """
    return name, {"help": help, **about}


def flag(name: str, help: str) -> Option:
    """An option without a value: true where it is given, else false.

    Args:
        name: with the dashes that it begins with.
        help: what it does, in the help of its command.
    """
    return option(name, help, action="store_true")


def number(name: str, help: str, default: int | None) -> Option:
    """An option whose value is a whole number.

    Args:
        name: with the dashes that it begins with.
        help: what is counted, in the help of its command.
        default: its value where it is left out.
    """
    return option(name, help, type=int, default=default, metavar="N")


def profile(help: str) -> Option:
    """How much is done."""
    return option("--profile", help, choices=("quick", "full"), default="quick")


def rows(*, given: bool) -> list[Option]:
    """How many rows the course's tables get; with ``given`` an option left out has its value, else None."""
    what = {name: f"rows of the table {name}" for name in ROWS} | {
        "seed": "the same seed gives the same rows"
    }
    return [
        number(f"--{name}", f"{what[name]} ({value})", value if given else None)
        for name, value in ROWS.items()
    ]


AS_JSON = flag("--json", "one JSON object on stdout, all else on stderr")
SECRETS = flag("--show-secrets", "show passwords in the URLs")
SOURCE = option("--source", "of PostgreSQL (POSTGRES_URL, Compose or embedded)", metavar="URL")
TARGET = option(
    "--target", "of Redis, or of any node of a Redis Cluster (REDIS_URL, Compose or embedded)", metavar="URL"
)
MODEL = option(
    "--model",
    "which keys are made of which tables; `model` proposes one (the course's)",
    metavar="FILE",
    type=Path,
)
RECORDED = option(
    "--model",
    "the model that is meant; it must be the one of the migration, which is recorded there and taken when "
    "this is left out",
    metavar="FILE",
    type=Path,
)
PREFIX = option("--prefix", "stands before every key (nothing)", default="", metavar="P")
PRINTED = ("title", "authors", "institution", "course", "date")
"""Parameters of notebook 06 that stand on the title page."""
TITLE_PAGE = (
    option("--title", "of the report (as in notebook 06, like the next four)"),
    option(
        "--author", "who made it; again for a further name", action="append", dest="authors", metavar="NAME"
    ),
    option("--institution", "where it was written"),
    option("--course", "what it is handed in for"),
    option("--date", "as it is to be printed"),
)


def _title_page(options: argparse.Namespace) -> dict[str, Any]:
    """Of the title page what was given."""
    given = {name: getattr(options, name) for name in PRINTED}
    return {name: value for name, value in given.items() if value is not None}


def _show(options: argparse.Namespace, data: Any, lines: Sequence[str]) -> None:
    print(json.dumps(data, ensure_ascii=False, default=str) if options.json else "\n".join(lines))


def _show_servers(options: argparse.Namespace, found: dict[str, Any]) -> None:
    rows = {name: asdict(server) for name, server in found.items()}
    for name, row in rows.items():
        row.pop("name")
        if not options.show_secrets:
            row["url"] = found[name].safe_url
    states = {name: row["version"] if row["running"] else "not running" for name, row in rows.items()}
    width = max(10, *map(len, rows))
    lines = [
        f"{name:<{width}} {states[name]:<12} {row['source']:<9} {row['url'] or ''}"
        for name, row in rows.items()
    ]
    _show(options, rows, [line.rstrip() for line in lines])


@command(
    "start the servers that are not running, wait until each answers, print their URLs",
    AS_JSON,
    option("names", "postgres, redis, mongodb, cassandra (default: all)", nargs="*", metavar="NAME"),
    flag(
        "--cluster",
        "start a Redis Cluster besides, three masters with a replica each: a --target for `migrate`",
    ),
    SECRETS,
    interrupted="servers that had answered stay up; the same command starts the others",
)
def _up(options: argparse.Namespace) -> int:
    from helpers import servers

    found = servers.up(options.names or settings.NAMES)
    if options.cluster:
        made = servers.up_cluster()
        found[made.name] = made
    _show_servers(options, found)
    return DONE


@command("show what runs, where, and in which version", AS_JSON, SECRETS)
def _status(options: argparse.Namespace) -> int:
    from helpers import servers

    found = servers.status()
    made = servers.cluster_status()
    _show_servers(options, found | ({made.name: made} if made else {}))
    return DONE


@command(
    "stop the embedded servers; their data stay",
    flag(
        "--delete",
        "delete their data too, with passwords, logs, and the files that hold rows",
    ),
    interrupted="the same command stops the others",
)
def _down(options: argparse.Namespace) -> int:
    from helpers import servers

    stopped = servers.down(delete=options.delete)
    print(f"stopped: {', '.join(stopped)}" if stopped else "no embedded server was running")
    return DONE


@command(
    "start the servers, run all notebooks, make the report as a PDF, and print its path",
    profile("quick: little data and few repetitions, to try it out; full: what is published (quick)"),
    option("--out", "folder of all that it makes (report/build)", type=Path, metavar="DIR"),
    flag("--publish", "then replace the committed outputs, results and report (with --profile full only)"),
    *TITLE_PAGE,
    *rows(given=False),
    interrupted="the servers stay up, and the same command begins anew",
)
def _run(options: argparse.Namespace) -> int:
    settings.checkout()  # before packages that may not be there either
    from helpers.comparison import crosscheck
    from helpers.relational import Rows
    from helpers.report import course
    from helpers.trials import rungs

    rows = {name: getattr(options, name) for name in ROWS if getattr(options, name) is not None}
    Rows(**rows)  # better refused now than by a cell
    programs = crosscheck.NEEDED | rungs.PROGRAMS
    made = course.run(
        profile=options.profile,
        out=options.out,
        publish=options.publish,
        rows=rows,
        title_page=_title_page(options),
        programs=programs,
    )
    print(made)
    return DONE


@command(
    "make the four tables if they are missing, and fill them",
    AS_JSON,
    SOURCE,
    *rows(given=True),
    flag("--replace", "replace rows that an earlier populate made"),
    interrupted="all of it is there or nothing; the same command begins anew",
)
def _populate(options: argparse.Namespace) -> int:
    from helpers.relational import population

    sizes = {name: getattr(options, name) for name in ROWS}
    result = population.populate(options.source, **sizes, replace=options.replace)
    _show(options, result, [f"{name}: {value}" for name, value in result.items()])
    return DONE


@command(
    "propose which keys to make of which tables, or check a model and say what becomes of each table",
    AS_JSON,
    SOURCE,
    option(
        "--table",
        "propose keys of these tables alone, as PostgreSQL quotes their names (all in the search path)",
        metavar="NAME",
        nargs="+",
        action="extend",
    ),
    option("--check", "propose nothing: look whether this model fits the tables", metavar="FILE", type=Path),
    epilog="A proposal is TOML: save it, edit it, check it, and give it to `migrate --model FILE`.",
)
def _model(options: argparse.Namespace) -> int:
    from helpers import model, source

    if options.check is not None and options.table:
        raise HelpersError("--check looks at all tables of the model; leave --table out")
    declared = model.load(options.check) if options.check is not None else None
    with source.LiveTables(options.source) as live:
        if declared is not None:
            found = model.check(declared, live)
            data = {"model": declared.where, "tables": {name: asdict(one) for name, one in found.items()}}
            _show(options, data, model.describe(found))
            return DONE
        made = model.proposal(live, options.table)
    if made.hint:
        print(f"helpers model: {made.hint}", file=sys.stderr)
    _show(
        options, {"model": made.text, "tables": made.tables, "left_out": made.left_out}, [made.text.rstrip()]
    )
    return DONE


@command(
    "move tables from PostgreSQL to Redis, and verify; resumes by itself",
    AS_JSON,
    MODEL,
    SOURCE,
    TARGET,
    PREFIX,
    number("--batch-rows", "most rows in a batch (20000)", None),
    number("--workers", "processes of this machine that load and verify (1)", 1),
    option(
        "--scheduler",
        "of a Dask scheduler (tcp:// or tls://) whose workers load instead; they must have this version "
        "of the package, and reach both servers by the URLs that are given here",
        metavar="URL",
    ),
    flag("--dry-run", "say what would be written, and write nothing"),
    flag("--restart", "drop an unfinished load and begin anew"),
    flag(
        "--replace",
        "remove the keys of an earlier migration, also one of another source, and load anew; keys of "
        "the model's form that another program added since are among them: `verify` names those, "
        "`--dry-run` counts all",
    ),
    flag("--flushdb", "empty the whole Redis database first, keys of others too"),
    flag(
        "--follow",
        "make a replication slot and load from its snapshot, so that `follow` goes on from there "
        "(needs wal_level=logical)",
    ),
    flag("--no-verify", "leave the verification out"),
    interrupted="",  # it says itself how far it is
    epilog=PATIENCE,
)
def _migrate(options: argparse.Namespace) -> int:
    from helpers import migration
    from helpers.servers import machine

    machine.one_arena()
    result = migration.migrate(
        options.source,
        options.target,
        model=options.model,
        batch_rows=options.batch_rows,
        workers=options.workers,
        scheduler=options.scheduler,
        dry_run=options.dry_run,
        restart=options.restart,
        replace=options.replace,
        flushdb=options.flushdb,
        verify=not options.no_verify,
        prefix=options.prefix,
        follow=options.follow,
    )
    _show(options, result, migration.describe(result))
    return DIFFERENT if sum(result["rows_rejected"].values()) or result.get("differences") else DONE


@command(
    "apply to Redis what was committed since the snapshot of `migrate --follow`, go on",
    AS_JSON,
    RECORDED,
    SOURCE,
    TARGET,
    PREFIX,
    option(
        "--until-idle",
        "end when all is applied and nothing came for S seconds (default: go on until interrupted)",
        type=float,
        metavar="S",
    ),
    option(
        "--drop-slot",
        "apply nothing: drop the replication slot of this target, or one of that name that was left "
        "behind, and say how much WAL it kept",
        nargs="?",
        const="",
        metavar="NAME",
    ),
    interrupted="",  # it says itself how far it is
    epilog=PATIENCE,
)
def _follow(options: argparse.Namespace) -> int:
    from helpers.migration import following
    from helpers.servers import machine

    machine.one_arena()
    if options.drop_slot is not None:
        dropped = following.drop_slot(
            options.source, options.target, prefix=options.prefix, name=options.drop_slot or None
        )
        _show(options, dropped, following.describe_dropped(dropped))
        return DONE
    result = following.follow(
        options.source,
        options.target,
        model=options.model,
        prefix=options.prefix,
        until_idle_s=options.until_idle,
    )
    _show(options, result, following.describe(result))
    return DIFFERENT if sum(result["rows_rejected"].values()) else DONE


@command(
    "compare every field of every row in Redis with PostgreSQL, and find extra keys",
    AS_JSON,
    RECORDED,
    SOURCE,
    TARGET,
    PREFIX,
    number("--workers", "processes of this machine that compare (1)", 1),
)
def _verify(options: argparse.Namespace) -> int:
    from helpers.migration import verification
    from helpers.servers import machine

    machine.one_arena()
    result = verification.verify(
        options.source,
        options.target,
        model=options.model,
        prefix=options.prefix,
        workers=options.workers,
    )
    _show(options, result, verification.describe(result))
    return DIFFERENT if result["differences"] else DONE


@command(
    "rebuild the tables from Redis alone, in a fresh schema",
    AS_JSON,
    RECORDED,
    option("--source", "of Redis (REDIS_URL, Compose or embedded)", metavar="URL"),
    option("--target", "of PostgreSQL (POSTGRES_URL, Compose or embedded)", metavar="URL"),
    PREFIX,
    option("--schema", "schema to make; it must not exist, or be empty", required=True, metavar="NAME"),
    interrupted="the schema is there whole or not at all; the same command begins anew",
)
def _restore(options: argparse.Namespace) -> int:
    from helpers.migration import restoration

    result = restoration.restore(
        options.source, options.target, schema=options.schema, model=options.model, prefix=options.prefix
    )
    _show(options, result, restoration.describe(result))
    return DIFFERENT if result["warnings"] else DONE


@command(
    "measure the comparison of PostgreSQL, Redis, MongoDB and Cassandra, with growing data and more than one "
    "node, and save the raw samples",
    AS_JSON,
    profile("how much is measured (quick)"),
    flag(
        "--cross-check",
        "let other load programs (redis-benchmark, go-ycsb, pgbench), where they are on PATH, ask the same "
        "servers in turns with ours, and report the ratios",
    ),
    interrupted=MEASURING,
)
def _bench(options: argparse.Namespace) -> int:
    from helpers import results, servers

    results.ready()
    from helpers.comparison import bench, crosscheck
    from helpers.scaling import growth, nodes

    servers.up()
    found = {"comparison": bench.run(profile=options.profile)}
    lines = bench.describe(found["comparison"])
    if options.cross_check:
        found["comparison"]["cross_check"] = crosscheck.run(folder=results.current_folder())
        lines += crosscheck.describe(found["comparison"]["cross_check"])
    for kind, of in (("scale", growth), ("nodes", nodes)):
        found[kind] = of.run(profile=options.profile)
        lines += of.describe(found[kind])
    _show(options, found, lines)
    return DONE


@command(
    "measure ways of loading side by side, and the migration of more and more rows",
    AS_JSON,
    profile("how much is measured (quick)"),
    number(
        "--rows",
        "instead, one migration of about N rows between throw-away servers, killed on the way, gone on with "
        "and verified; refused where the machine has no room for them",
        None,
    ),
    flag("--publish", "then put this one's result among the committed ones (with --rows only)"),
    interrupted=MEASURING,
)
def _ladder(options: argparse.Namespace) -> int:
    from helpers import results, servers

    results.ready()
    if options.rows is not None:
        return _largest(options)
    if options.publish:
        raise HelpersError("--publish is for the result of --rows N; `run --publish` publishes all others")
    from helpers.trials import ladder

    servers.up(["postgres"])
    result = ladder.run(profile=options.profile)
    _show(options, result, ladder.describe(result))
    return DONE


def _largest(options: argparse.Namespace) -> int:
    """``ladder --rows N``."""
    from helpers.report import publication
    from helpers.trials import largest

    if options.publish:  # better refused now than after it
        settings.checkout()
        largest.publishable(options.rows)
    result = largest.run(rows=options.rows)
    _show(options, result, largest.describe(result))
    if options.publish:
        publication.add("largest")
    verified = result["verified"]
    return DONE if verified and not verified["differences"] else DIFFERENT


@command(
    "kill the migration and throw-away servers at random moments, and judge what is left",
    AS_JSON,
    profile("how many kills (quick)"),
    number("--seed", "of moments and changes (42)", 42),
    number("--workers", "processes that load in each migration (1)", 1),
    option(
        "--model",
        "the course's tables and model, general ones, or both (course)",
        choices=("course", "general", "both"),
        default="course",
    ),
    interrupted=MEASURING,
)
def _crashes(options: argparse.Namespace) -> int:
    from helpers import results

    results.ready()
    from helpers.trials import crashes

    result = crashes.run(
        profile=options.profile, seed=options.seed, workers=options.workers, model=options.model
    )
    _show(options, result, crashes.describe(result))
    return DONE if crashes.clean(result) else DIFFERENT


@command(
    "make the report again from saved results; no server is needed",
    option("--results", "saved results (those of the last run)", type=Path, metavar="DIR"),
    option("--out", "where the PDF and its figures go (report/build)", type=Path, metavar="DIR"),
    *TITLE_PAGE,
    interrupted="the same command begins anew",
)
def _report(options: argparse.Namespace) -> int:
    settings.checkout()
    from helpers import report

    print(report.build(results=options.results, out=options.out, parameters=_title_page(options)))
    return DONE


@command(
    "make the course as students get it: without solutions and outputs, with a check for each exercise",
    option(
        "--out",
        "folder that it is made in; it must not exist, or be empty",
        type=Path,
        required=True,
        metavar="DIR",
    ),
    interrupted="empty the folder, and give the same command again",
)
def _handout(options: argparse.Namespace) -> int:
    settings.checkout()
    from helpers.report import handout

    print(handout.write(options.out))
    return DONE
