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

from helpers.errors import HelpersError, refused
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
            f"helpers {options.command}: {name} is not installed, a package of the course; in the project's "
            "folder `pip install -r requirements.txt`, or install the wheel with its extra [course]",
            file=sys.stderr,
        )
        return FAILED
    except BrokenPipeError:
        sys.stderr.close()
        return FAILED
    except OSError as error:  # no space, no permission
        print(f"helpers {options.command}: {refused(error)}", file=sys.stderr)
        return FAILED
    except Exception as error:  # a server went away where nobody expected it
        from helpers.servers import connections

        told = connections.lost(error)
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

    def add(
        name: str,
        run: Callable[[argparse.Namespace], int],
        help: str,
        as_json: bool = True,
        interrupted: str = "nothing was changed",
    ) -> Parser:
        command = commands.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
        if as_json:
            command.add_argument(
                "--json", action="store_true", help="one JSON object on stdout, all else on stderr"
            )
        command.set_defaults(run=run, interrupted=interrupted)
        return command

    up = add(
        "up",
        _up,
        "start the servers that are not running, wait until each answers, print their URLs",
        interrupted="servers that had answered stay up; the same command starts the others",
    )
    up.add_argument(
        "names", nargs="*", metavar="NAME", help="postgres, redis, mongodb, cassandra (default: all)"
    )
    up.add_argument(
        "--cluster",
        action="store_true",
        help="start a Redis Cluster besides, three masters with a replica each: a --target for `migrate`",
    )
    up.add_argument("--show-secrets", action="store_true", help="show passwords in the URLs")

    status = add("status", _status, "show what runs, where, and in which version")
    status.add_argument("--show-secrets", action="store_true", help="show passwords in the URLs")

    down = add(
        "down",
        _down,
        "stop the embedded servers; their data stay",
        as_json=False,
        interrupted="the same command stops the others",
    )
    down.add_argument("--delete", action="store_true", help="delete their data too, with passwords and logs")

    run = add(
        "run",
        _run,
        "start the servers, run all notebooks, make the report as a PDF, and print its path",
        as_json=False,
        interrupted="the servers stay up, and the same command begins anew",
    )
    run.add_argument(
        "--profile",
        choices=("quick", "full"),
        default="quick",
        help="quick: little data and few repetitions, to try it out; full: what is published (quick)",
    )
    run.add_argument("--out", type=Path, metavar="DIR", help="folder of all that it makes (report/build)")
    run.add_argument(
        "--publish",
        action="store_true",
        help="then replace the committed outputs, results and report (with --profile full only)",
    )

    _add_rows(run, given=False)

    populate = add(
        "populate",
        _populate,
        "make the four tables if they are missing, and fill them",
        interrupted="all of it is there or nothing; the same command begins anew",
    )
    _add_source(populate)
    _add_rows(populate, given=True)
    populate.add_argument("--replace", action="store_true", help="replace rows that an earlier populate made")

    migrate = add(
        "migrate",
        _migrate,
        "move the four tables from PostgreSQL to Redis, and verify; resumes by itself",
        interrupted="",  # it says itself how far it is
    )
    _add_source(migrate)
    _add_target(migrate)
    migrate.add_argument(
        "--batch-rows", type=int, default=None, metavar="N", help="most rows in a batch (20000)"
    )
    migrate.add_argument(
        "--workers", type=int, default=1, metavar="N", help="processes of this machine that load (1)"
    )
    migrate.add_argument(
        "--scheduler",
        metavar="URL",
        help="of a Dask scheduler (tcp:// or tls://) whose workers load instead; they must have this version "
        "of the package, and reach both servers by the URLs that are given here",
    )
    migrate.add_argument(
        "--dry-run", action="store_true", help="say what would be written, and write nothing"
    )
    migrate.add_argument("--restart", action="store_true", help="drop an unfinished load and begin anew")
    migrate.add_argument(
        "--replace",
        action="store_true",
        help="remove the keys of an earlier migration, also one of another source, and load anew; keys of "
        "the model's form that another program added since are among them: `verify` names those, "
        "`--dry-run` counts all",
    )
    migrate.add_argument(
        "--flushdb", action="store_true", help="empty the whole Redis database first, keys of others too"
    )
    migrate.add_argument(
        "--follow",
        action="store_true",
        help="make a replication slot and load from its snapshot, so that `follow` goes on from there "
        "(needs wal_level=logical)",
    )
    migrate.epilog = PATIENCE
    migrate.add_argument("--no-verify", action="store_true", help="leave the verification out")

    follow = add(
        "follow",
        _follow,
        "apply to Redis what was committed since the snapshot of `migrate --follow`, go on",
        interrupted="",  # it says itself how far it is
    )
    _add_source(follow)
    _add_target(follow)
    follow.add_argument(
        "--until-idle",
        type=float,
        metavar="S",
        help="end when all is applied and nothing came for S seconds (default: go on until interrupted)",
    )
    follow.add_argument(
        "--drop-slot",
        nargs="?",
        const="",
        metavar="NAME",
        help="apply nothing: drop the replication slot of this target, or one of that name that was left "
        "behind, and say how much WAL it kept",
    )
    follow.epilog = PATIENCE

    verify = add(
        "verify", _verify, "compare every field of every row in Redis with PostgreSQL, and find extra keys"
    )
    _add_source(verify)
    _add_target(verify)

    restore = add(
        "restore",
        _restore,
        "rebuild the four tables from Redis alone, in a fresh schema",
        interrupted="the schema is there whole or not at all; the same command begins anew",
    )
    restore.add_argument("--source", metavar="URL", help="of Redis (REDIS_URL, Compose or embedded)")
    restore.add_argument("--target", metavar="URL", help="of PostgreSQL (POSTGRES_URL, Compose or embedded)")
    restore.add_argument("--prefix", default="", metavar="P", help="stands before every key (nothing)")
    restore.add_argument(
        "--schema", required=True, metavar="NAME", help="schema to make; it must not exist, or be empty"
    )

    bench = add(
        "bench",
        _bench,
        "measure the comparison of Redis, MongoDB and Cassandra, with growing data and more than one node, "
        "and save the raw samples",
        interrupted=MEASURING,
    )
    bench.add_argument(
        "--profile", choices=("quick", "full"), default="quick", help="how much is measured (quick)"
    )
    bench.add_argument(
        "--cross-check",
        action="store_true",
        help="let redis-benchmark, where it is installed, measure the same server, and report the ratio",
    )

    ladder = add(
        "ladder",
        _ladder,
        "measure ways of loading side by side, and the migration of more and more rows",
        interrupted=MEASURING,
    )
    ladder.add_argument(
        "--profile", choices=("quick", "full"), default="quick", help="how much is measured (quick)"
    )

    crashes = add(
        "crashes",
        _crashes,
        "kill the migration and throw-away servers at random moments, and judge what is left",
        interrupted=MEASURING,
    )
    crashes.add_argument(
        "--profile", choices=("quick", "full"), default="quick", help="how many kills (quick)"
    )
    crashes.add_argument("--seed", type=int, default=42, metavar="N", help="of moments and changes (42)")
    crashes.add_argument(
        "--workers", type=int, default=1, metavar="N", help="processes that load in each migration (1)"
    )

    report = add(
        "report",
        _report,
        "make the report again from saved results; no server is needed",
        as_json=False,
        interrupted="the same command begins anew",
    )
    report.add_argument("--results", type=Path, metavar="DIR", help="saved results (those of the last run)")
    report.add_argument(
        "--out", type=Path, metavar="DIR", help="where the PDF and its figures go (report/build)"
    )
    return parser


def _add_source(command: argparse.ArgumentParser) -> None:
    command.add_argument("--source", metavar="URL", help="of PostgreSQL (POSTGRES_URL, Compose or embedded)")


def _add_target(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--target",
        metavar="URL",
        help="of Redis, or of any node of a Redis Cluster (REDIS_URL, Compose or embedded)",
    )
    command.add_argument("--prefix", default="", metavar="P", help="stands before every key (nothing)")


def _add_rows(command: argparse.ArgumentParser, *, given: bool) -> None:
    """How many rows the course's tables get; with ``given`` an option left out has its value, else None."""
    for name, number in ROWS.items():
        what = "the same seed gives the same rows" if name == "seed" else f"rows of the table {name}"
        default = number if given else None
        command.add_argument(f"--{name}", type=int, default=default, metavar="N", help=f"{what} ({number})")


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


def _up(options: argparse.Namespace) -> int:
    from helpers import servers, settings

    found = servers.up(options.names or settings.NAMES)
    if options.cluster:
        made = servers.up_cluster()
        found[made.name] = made
    _show_servers(options, found)
    return DONE


def _status(options: argparse.Namespace) -> int:
    from helpers import servers

    found = servers.status()
    made = servers.cluster_status()
    _show_servers(options, found | ({made.name: made} if made else {}))
    return DONE


def _down(options: argparse.Namespace) -> int:
    from helpers import servers

    stopped = servers.down(delete=options.delete)
    print(f"stopped: {', '.join(stopped)}" if stopped else "no embedded server was running")
    return DONE


def _run(options: argparse.Namespace) -> int:
    from helpers.comparison import crosscheck
    from helpers.relational import Rows
    from helpers.report import course
    from helpers.trials import rungs

    rows = {name: getattr(options, name) for name in ROWS if getattr(options, name) is not None}
    Rows(**rows)  # better refused now than by a cell
    programs = crosscheck.PROGRAMS | rungs.PROGRAMS
    made = course.run(
        profile=options.profile, out=options.out, publish=options.publish, rows=rows, programs=programs
    )
    print(made)
    return DONE


def _populate(options: argparse.Namespace) -> int:
    from helpers.relational import population

    result = population.populate(
        options.source,
        users=options.users,
        products=options.products,
        activities=options.activities,
        orders=options.orders,
        seed=options.seed,
        replace=options.replace,
    )
    _show(options, result, [f"{name}: {value}" for name, value in result.items()])
    return DONE


def _migrate(options: argparse.Namespace) -> int:
    from helpers import migration
    from helpers.servers import machine

    machine.one_arena()
    result = migration.migrate(
        options.source,
        options.target,
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
        options.source, options.target, prefix=options.prefix, until_idle_s=options.until_idle
    )
    _show(options, result, following.describe(result))
    return DIFFERENT if sum(result["rows_rejected"].values()) else DONE


def _verify(options: argparse.Namespace) -> int:
    from helpers.migration import verification
    from helpers.servers import machine

    machine.one_arena()
    result = verification.verify(options.source, options.target, prefix=options.prefix)
    _show(options, result, verification.describe(result))
    return DIFFERENT if result["differences"] else DONE


def _restore(options: argparse.Namespace) -> int:
    from helpers.migration import restoration

    result = restoration.restore(options.source, options.target, schema=options.schema, prefix=options.prefix)
    _show(options, result, restoration.describe(result))
    return DIFFERENT if result["warnings"] else DONE


def _bench(options: argparse.Namespace) -> int:
    from helpers import results, servers
    from helpers.comparison import bench, crosscheck
    from helpers.scaling import growth, nodes

    results.ready()
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


def _ladder(options: argparse.Namespace) -> int:
    from helpers import results, servers
    from helpers.trials import ladder

    results.ready()
    servers.up(["postgres"])
    result = ladder.run(profile=options.profile)
    _show(options, result, ladder.describe(result))
    return DONE


def _crashes(options: argparse.Namespace) -> int:
    from helpers import results
    from helpers.trials import crashes

    results.ready()
    result = crashes.run(profile=options.profile, seed=options.seed, workers=options.workers)
    _show(options, result, crashes.describe(result))
    return DONE if crashes.clean(result) else DIFFERENT


def _report(options: argparse.Namespace) -> int:
    from helpers import report

    print(report.build(results=options.results, out=options.out))
    return DONE
