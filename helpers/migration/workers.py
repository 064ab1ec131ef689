"""The workers: processes that load or compare partitions side by side, by Dask, here or on other machines.

This module imports Dask, which takes memory and a moment: only work by several processes imports it.
On this machine scheduler and workers talk over loopback with certificates of their own, made for this work,
and there is no dashboard. What is given to a worker holds passwords: it is an argument of a task, never part
of its key, and a task raises nothing, because Dask logs the arguments of one that does.
"""

import logging
import os
import secrets
import shutil
import signal
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from types import TracebackType
from typing import Any, TypeVar

import dask
import distributed
from distributed.versions import VersionMismatchWarning

from helpers.errors import HelpersError, first_line
from helpers.migration.task import Outcome, Task, WorkersLost, code_digest, do

Kind = TypeVar("Kind", bound=Task)
LOOK_S = 0.2
"""How often it looks after the lease, and for tasks that have ended without news of it."""
COUNT_S = 2.0
"""How often it counts the workers."""
CONNECT_S = 5
ANSWER_S = 30
"""A scheduler that was reached may be slow on a machine that is busy, as with the load itself."""
START_S = 120
"""A worker that takes longer to start is given up."""
ALONE_S = 30
"""After so long without any worker it gives up."""
MARK = "helpers-migrate-"
"""How the names of its folders begin."""
SPARING = {"MALLOC_ARENA_MAX": "1"} | {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS")}
"""Environment of the workers on this machine: one arena of the allocator, no threads for linear algebra."""
CONFIG = {
    "distributed.scheduler.allowed-failures": 10,
    "distributed.scheduler.worker-ttl": "30s",
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.nanny.pre-spawn-environ": SPARING,
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "1s",
    "distributed.admin.system-monitor.disk": False,
}
"""Of the scheduler and the workers on this machine. No worker is given up before some of its fellows died.
None measures itself: that would take time from its work.
"""
NOTHING = logging.CRITICAL + 1
"""No message is as grave: a scheduler that is closed at an interrupt calls that critical."""
LOGGERS = ("asyncio", "distributed", "distributed.client", "distributed.gc", "tornado", "tornado.application")
"""Those of Dask, and what it stands on, that have a level of their own."""
RESTART = "start it, and workers, again"
FEWER = (
    "look whether memory ran out, or try fewer `--workers`; a script of your own must start it below "
    "`if __name__ == '__main__':`, as each worker reads the script"
)
SAME = "install the same requirements.txt there"


class Workers:
    """Workers of a Dask scheduler; a context manager that leaves none of its own behind.

    Args:
        workers: how many processes to start on this machine.
        scheduler: the address of a scheduler elsewhere, whose workers are taken instead.

    Attributes:
        size: how many tasks they do at the same time.
    """

    def __init__(self, workers: int, scheduler: str | None = None) -> None:
        self.size = workers
        self.scheduler = scheduler
        self._client: Any = None
        self._cluster: Any = None
        self._open = ExitStack()

    def __enter__(self) -> "Workers":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """Let the workers go, those of this machine at once: what they have not committed, nobody will."""
        self._open.close()
        self._client = None

    def start(self) -> None:
        """Have the workers ready, unless they are.

        Raises:
            HelpersError: they cannot be had, or are of another version.
        """
        if self._client is not None:
            return
        self._open.enter_context(_quiet())
        address = self.scheduler or self._open.enter_context(self._local())
        self._client = self._connect(address)
        self._open.callback(self._leave, self._client)
        if self.scheduler:
            self._check()

    @staticmethod
    def _leave(client: Any) -> None:
        with suppress(TimeoutError):  # all is done by then: what is busy is not waited for
            client.close(timeout=2)

    @contextmanager
    def _local(self) -> Iterator[Any]:
        """A cluster of processes on this machine."""
        before = dict(os.environ)
        with (
            tempfile.TemporaryDirectory(prefix=MARK, ignore_cleanup_errors=True) as folder,
            dask.config.set(CONFIG),
        ):
            try:
                self._cluster = distributed.LocalCluster(
                    n_workers=self.size,
                    threads_per_worker=1,
                    processes=True,
                    host="127.0.0.1",
                    dashboard_address="127.0.0.1:0",
                    scheduler_kwargs={"dashboard": False},
                    memory_limit=0,
                    preload=["helpers.migration.task"],
                    local_directory=folder,
                    death_timeout=START_S,
                    security=True,
                    silence_logs=NOTHING,
                )
            except Exception as error:
                raise HelpersError(
                    f"{self.size} workers cannot be started here ({first_line(error)}); {FEWER}"
                ) from error
            finally:
                _restore(before)
            shutil.rmtree(folder, ignore_errors=True)  # unused, and so it does not outlive a killed process
            try:
                yield self._cluster
            finally:
                self._kill()
                _restore(before)

    def _kill(self) -> None:
        """End the workers of this machine."""
        for nanny in list(self._cluster.workers.values()):
            pid = nanny.pid
            nanny.close_gracefully()  # it starts no other
            if pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        with suppress(Exception):
            self._cluster.close(timeout=10)

    def _connect(self, address: Any) -> Any:
        try:
            return distributed.Client(
                address,
                timeout=CONNECT_S if self.scheduler else ANSWER_S,
                set_as_default=False,
                name="helpers-migrate",
            )
        except Exception as error:
            raise WorkersLost(
                f"{self._where}: {first_line(error)}; check the address, and whether "
                "`dask scheduler` runs there"
            ) from error

    def _check(self) -> None:
        """Refuse workers that are not there, or that have not the same code."""
        where = f"Dask scheduler at {self.scheduler}"
        threads = self._threads()
        if not threads:
            raise WorkersLost(f"{where}: it has no worker; start some with `dask worker {self.scheduler}`")
        self.size = sum(threads.values())
        try:
            versions = self._client.get_versions()
            ours = versions["client"]["packages"]
            workers = {f"worker {name}": found for name, found in versions["workers"].items()}
            for who, found in {"the scheduler": versions["scheduler"], **workers}.items():
                packages = found["packages"] if found else {}
                for name, label in (("python", "Python"), ("distributed", "distributed")):
                    mine, other = (_minor(name, one.get(name)) for one in (ours, packages))
                    if mine != other:
                        raise HelpersError(f"{where}: {who} has {label} {other}, not {mine}; {SAME}")
            digests = {f"worker {name}": found for name, found in self._client.run(_asker()).items()}
            digests["the scheduler"] = self._client.run_on_scheduler(_asker())
        except HelpersError:
            raise
        except Exception as error:
            raise WorkersLost(f"{where}: {first_line(error)}; {SAME}") from error
        for who, found in digests.items():
            if found != code_digest():
                what = "another version of" if found else "not"
                raise HelpersError(f"{where}: {who} has {what} this package; {SAME}")

    def _threads(self) -> dict[str, int]:
        """Threads of each worker, by its address.

        Raises:
            WorkersLost: the scheduler does not say.
        """
        try:
            found = self._client.sync(self._client.scheduler.ncores, callback_timeout=ANSWER_S)
        except Exception as error:
            raise WorkersLost(f"{self._where}: {first_line(error)}; {self._remedy}") from error
        return dict(found)

    @property
    def _where(self) -> str:
        return f"Dask scheduler at {self.scheduler}" if self.scheduler else "workers on this machine"

    @property
    def _remedy(self) -> str:
        return RESTART if self.scheduler else FEWER

    def work(
        self,
        tasks: Sequence[Kind],
        idle: Callable[[], object],
        ended: Callable[[Kind, Outcome], object] = lambda task, outcome: None,
    ) -> list[Outcome]:
        """Have tasks done; those of a worker that dies are done by another.

        Args:
            tasks: the first of them first.
            idle: called about every ``LOOK_S`` seconds.
            ended: told of each task that was done, and how.

        Returns:
            How each task ended, in the order in which they did.

        Raises:
            WorkersLost: no worker is left, or the scheduler went away.
            HelpersError: of the first task that failed; the others are given up.
        """
        client, run = self._client, secrets.token_hex(4)
        waiting = {
            client.submit(do, task, key=f"{task.partition}-{run}", pure=False, priority=-number): task
            for number, task in enumerate(tasks)
        }
        news = threading.Event()
        for future in waiting:
            future.add_done_callback(lambda _: news.set())
        outcomes: list[Outcome] = []
        seen, looked = time.monotonic(), 0.0
        while waiting:
            news.clear()
            news_of = [future for future in waiting if future.status != "pending"]
            for future in news_of:
                outcomes.append(self._outcome(future))
                outcomes[-1].check()
                ended(waiting.pop(future), outcomes[-1])
            idle()
            if not news_of:
                news.wait(LOOK_S)
            if time.monotonic() - looked < COUNT_S:
                continue
            looked = time.monotonic()
            if self._threads():
                seen = looked
            elif looked - seen > ALONE_S:
                raise WorkersLost(f"{self._where}: no worker is left; {self._remedy}")
        return outcomes

    def _outcome(self, future: Any) -> Outcome:
        try:
            found = future.result(timeout=ANSWER_S)
        except Exception as error:  # no task raises: so it is Dask that says something
            name = type(error).__name__
            raise WorkersLost(f"{self._where}: {name}: {first_line(error)}; {self._remedy}") from None
        if not isinstance(found, Outcome):
            raise WorkersLost(f"{self._where}: an answer of another version; {SAME}")
        return found


def _asker() -> Callable[[], str | None]:
    """A function that tells the digest of the package's code where it runs; it needs nothing there."""

    def ask() -> str | None:
        try:
            from helpers.migration.task import code_digest
        except ImportError:
            return None
        return code_digest()

    return ask


def _minor(name: str, version: str | None) -> str | None:
    """3.11 of Python 3.11.7, as 3.12 reads other byte code; other versions as they are."""
    return ".".join(version.split(".")[:2]) if name == "python" and version else version


@contextmanager
def _quiet() -> Iterator[None]:
    """What Dask says is not for the user: what matters comes as an error of a task, or of its own."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(NOTHING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VersionMismatchWarning)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _restore(before: dict[str, str]) -> None:
    """Take back what Dask put into the environment for its children."""
    for name in (*SPARING, "PYTHONHASHSEED", "__DASK_PARENT_PID"):
        os.environ.pop(name, None)
        os.environ.update({name: before[name]} if name in before else {})
