"""The phases of a comparison: answers, warm-up, closed loop, floors, concurrency, open loop, counting."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import psutil

from helpers import settings
from helpers.comparison import answers, loops, samples, statistics, stores, summary
from helpers.comparison.dataset import Dataset
from helpers.comparison.processes import Processes
from helpers.comparison.samples import RunSamples
from helpers.comparison.store import CLIENTS, Store
from helpers.comparison.workload import LIMIT, MIXES, Operation, Workload, arrivals


@dataclass(frozen=True)
class ComparisonDesign:
    """How much is measured; everything that decides the numbers beside the machine."""

    users: int
    products: int
    activities: int
    orders: int
    warm_up_operations: int
    blocks: int
    block_operations: int
    concurrency: tuple[int, ...]
    concurrency_blocks: int
    concurrency_operations: int
    """Of each client, so that a block with many is not over before it has begun."""
    open_shares: tuple[float, ...]
    open_blocks: int
    open_seconds: float
    floor_operations: int
    fsyncs: int
    strict_blocks: int
    strict_operations: int
    seed: int = 7
    client_processes: int = psutil.cpu_count() or 1
    """The most processes that clients are spread over; each can keep one core busy."""
    mixes: tuple[str, ...] = tuple(MIXES)
    strict_mix: str = "50/50"
    busy_mix: str = "50/50"


DESIGNS = {
    "quick": ComparisonDesign(
        users=200,
        products=50,
        activities=3000,
        orders=600,
        warm_up_operations=400,
        blocks=4,
        block_operations=420,
        concurrency=(1, 4, 16),
        concurrency_blocks=4,
        concurrency_operations=60,
        open_shares=(0.3, 0.7),
        open_blocks=1,
        open_seconds=0.6,
        floor_operations=400,
        fsyncs=40,
        strict_blocks=0,
        strict_operations=0,
    ),
    "full": ComparisonDesign(
        users=4000,
        products=400,
        activities=100_000,
        orders=20_000,
        warm_up_operations=6000,
        blocks=12,
        block_operations=2000,
        concurrency=(1, 4, 16),
        concurrency_blocks=8,
        concurrency_operations=600,
        open_shares=(0.25, 0.5, 0.75),
        open_blocks=4,
        open_seconds=3.0,
        floor_operations=4000,
        fsyncs=400,
        strict_blocks=8,
        strict_operations=600,
    ),
}


def orders(names: Sequence[str], blocks: int) -> list[tuple[str, ...]]:
    """In which order the stores take their turns, by block: each in each place, and after each other,
    equally often.

    The rows of a Williams square (Williams, Experimental designs balanced for the estimation of residual
    effects of treatments, Australian Journal of Scientific Research A 2, 1949): as many as there are names,
    with their mirror images where that number is odd. Then they come again.

    Args:
        names: of the stores.
        blocks: how many orders are wanted.
    """
    count = len(names)
    zigzag = [((place + 1) // 2 if place % 2 else -place // 2) % count for place in range(count)]
    rows = [tuple(names[(step + shift) % count] for step in zigzag) for shift in range(count)]
    if count % 2:
        rows += [row[::-1] for row in rows]
    return [rows[block % len(rows)] for block in range(blocks)]


def steps(design: ComparisonDesign) -> int:
    """How many steps a progress bar over a comparison has."""
    each = len(stores.NAMES)
    closed = 1 + len(design.mixes) * design.blocks + len(design.concurrency) * design.concurrency_blocks
    strict = (2 + design.strict_blocks) if design.strict_blocks else 0
    return 1 + each * (1 + closed + len(design.open_shares) * design.open_blocks + strict)


def operations(design: ComparisonDesign) -> int:
    """How many operations of closed loops each store is asked for, warm-up and strict tier included."""
    crowd = sum(design.concurrency) * design.concurrency_blocks * design.concurrency_operations
    alone = design.warm_up_operations + len(design.mixes) * design.blocks * design.block_operations
    return alone + crowd + design.strict_blocks * design.strict_operations


ASKED_USERS = ASKED_ORDERS = 60
FLOOR_ROUNDS = 12
NULL = Operation("null_op", ())
Closed = Callable[[str, Sequence[Sequence[Operation]]], loops.StoreRun]
"""A closed loop: the name of a store and the stream of each client go in."""


@dataclass(frozen=True)
class Place:
    """Where in the comparison a run stands."""

    phase: str
    tier: str
    mix: str
    clients: int = 1
    rate_per_s: float | None = None


@dataclass
class Session:
    """One comparison under way: its design, data set and progress bar, and what it has found so far."""

    design: ComparisonDesign
    made: Dataset
    bar: Any
    records: list[RunSamples] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    floors: dict[str, Any] = field(default_factory=dict)

    def relaxed(self, opened: Mapping[str, Store]) -> dict[str, Any]:
        """All phases in the relaxed tier; gives the settings of each store, read back from it."""
        design = self.design
        read_back, workload = self._loaded("relaxed", opened)
        busy = Place("warm-up", "relaxed", design.busy_mix)
        self._closed(opened, workload, busy, blocks=1, operations=design.warm_up_operations)
        for mix in design.mixes:
            place = Place("closed", "relaxed", mix)
            self._closed(opened, workload, place, blocks=design.blocks, operations=design.block_operations)
        self._floors(opened)
        with Processes(opened, design.client_processes) as processes:
            for clients in design.concurrency:
                place = replace(busy, phase="concurrency", clients=clients)
                self._closed(
                    opened,
                    workload,
                    place,
                    blocks=design.concurrency_blocks,
                    operations=design.concurrency_operations * clients,
                    closed=processes.closed,
                )
            self._compare(opened)
            self._open(opened, workload, processes)
        self._compare(opened, ordered=False)
        return read_back

    def strict(self, opened: Mapping[str, Store]) -> dict[str, Any]:
        """Warm-up and closed loop in the strict tier; gives the settings of each store, read back from it."""
        design = self.design
        read_back, workload = self._loaded("strict", opened)
        place = Place("warm-up", "strict", design.strict_mix)
        self._closed(opened, workload, place, blocks=1, operations=design.strict_operations)
        place = replace(place, phase="closed")
        self._closed(
            opened, workload, place, blocks=design.strict_blocks, operations=design.strict_operations
        )
        self._compare(opened)
        return read_back

    def counts(self, store: Store) -> dict[str, Any]:
        """What each operation sends, counted on the live server, and what the store's data take."""
        far, late = 2**31 - 1, self.made.population.latest.replace(year=2100)  # beyond what the streams made
        arguments: dict[str, tuple[Any, ...]] = {
            "read_profile": (1,),
            "last_activities": (1, LIMIT),
            "append_activity": (far, 1, "login", late),
            "place_order": (far, 1, 1, late, 1),
        }
        return {
            "definitions": len(store.DEFINITIONS),
            "sent": {name: asdict(store.traffic(name, *given)) for name, given in arguments.items()},
            "records_written": {name: store.IDIOMS[name].records_written for name in arguments},
            "commands": {name: store.IDIOMS[name].commands for name in arguments},
            "atomic": {name: store.IDIOMS[name].atomic for name in arguments},
            "size": asdict(store.size()),
        }

    def _loaded(self, tier: str, opened: Mapping[str, Store]) -> tuple[dict[str, dict[str, str]], Workload]:
        read_back = {}
        for name, store in opened.items():
            store.set_durability(tier)
            self.made.load_into(store)
            read_back[name] = store.settings()
            self.bar.update()
        self._compare(opened)
        return read_back, Workload(self.made.population, seed=self.design.seed)

    def _compare(self, opened: Mapping[str, Store], *, ordered: bool = True) -> None:
        sizes = {"users": ASKED_USERS, "orders": ASKED_ORDERS}
        self.asked.update(
            answers.compare(list(opened.values()), self.made.population, **sizes, ordered=ordered)
        )

    def _closed(
        self,
        opened: Mapping[str, Store],
        workload: Workload,
        place: Place,
        *,
        blocks: int,
        operations: int,
        closed: Closed | None = None,
    ) -> None:
        closed = closed or (lambda name, streams: loops.closed(opened[name], streams))
        for block, order in enumerate(orders(list(opened), blocks)):
            streams = workload.streams(operations, place.mix, clients=place.clients)
            runs = {}
            for position, name in enumerate(order):
                runs[name] = closed(name, streams)
                self._keep(runs[name], place, block, position, name)
            if not any(run.errors for run in runs.values()):  # a failed write leaves stores unequal
                self.asked["while timing"] += answers.compare_runs(runs)

    def _floors(self, opened: Mapping[str, Store]) -> None:
        """Measured warm, in turns, after the closed loop: a cold driver would make any operation look
        cheap.
        """
        each = -(-self.design.floor_operations // FLOOR_ROUNDS)
        echo: list[np.ndarray] = []
        null: dict[str, list[loops.StoreRun]] = {name: [] for name in opened}
        for order in orders(list(opened), FLOOR_ROUNDS):
            echo.append(loops.echo_us(each))
            for name in order:
                null[name].append(loops.closed(opened[name], [[NULL] * each]))
        self.floors = {
            "echo_us": _described(echo),
            "fsync_us": _described([loops.fsync_us(self.design.fsyncs, settings.home())]),
            "null_op_us": {
                name: _described([np.asarray(run.latency_us) for run in rounds])
                for name, rounds in null.items()
            },
            "null_op_cost": {
                name: {"asks": opened[name].NULL_OP, **summary.parts(rounds)} for name, rounds in null.items()
            },
        }
        self.bar.update()

    def _open(self, opened: Mapping[str, Store], workload: Workload, processes: Processes) -> None:
        design, busiest = self.design, max(self.design.concurrency)
        measured = summary.throughput(self.records, list(opened))
        slowest = min(row["per_s"] for row in measured if row["clients"] == busiest)
        random = np.random.default_rng(design.seed)
        for share in design.open_shares:
            place = Place("open", "relaxed", design.busy_mix, CLIENTS, round(slowest * share, 1))
            for block, order in enumerate(orders(list(opened), design.open_blocks)):
                due_s = arrivals(random, slowest * share, design.open_seconds).tolist()
                stream: Sequence[Operation] = workload.stream(len(due_s), design.busy_mix)
                for position, name in enumerate(order):
                    run = processes.open_loop(name, stream, due_s, clients=CLIENTS)
                    self._keep(run, place, block, position, name)

    def _keep(self, run: loops.StoreRun, place: Place, block: int, position: int, store: str) -> None:
        self.records.append(samples.of_run(run, **asdict(place), block=block, position=position, store=store))
        self.bar.update()


def _described(rounds: Sequence[np.ndarray]) -> dict[str, Any]:
    return statistics.describe(rounds, summary.SHARES)
