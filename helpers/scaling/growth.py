"""How latency and space change as the data grow, and what happens when they outgrow memory.

Sizes are visited upwards and then downwards again, so that whatever changes with time alone (a compiler that
warms up, a machine that tires) falls on small and large data alike and widens the intervals instead of
looking like growth.
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from helpers import results, settings, text
from helpers.comparison import (
    Store,
    Workload,
    answers,
    dataset,
    loops,
    phases,
    statistics,
    stores,
    workload as comparison_workload,
)
from helpers.progress import bar
from helpers.scaling import beyond_memory, summary
from helpers.scaling.growth_schemas import SCALE
from helpers.scaling.summary import Block

ASKED_USERS = ASKED_ORDERS = 20


@dataclass(frozen=True)
class GrowthDesign:
    """How much is measured.

    Attributes:
        sizes: numbers of activities, growing.
        blocks: timed blocks of each store at each size, an even number.
        block_operations: operations of a block.
        warm_up_operations: before the first size.
        settle_operations: before the first block of each visit.
    """

    sizes: tuple[int, ...]
    blocks: int
    block_operations: int
    warm_up_operations: int
    settle_operations: int
    activities_per_user: int = 25
    orders_per_user: int = 1
    users_per_product: int = 10
    mix: str = "50/50"
    seed: int = 11

    def tables(self, activities: int) -> dict[str, int]:
        """Rows of each table for so many activities."""
        users = max(activities // self.activities_per_user, 1)
        products = max(users // self.users_per_product, 1)
        orders = users * self.orders_per_user
        return {"users": users, "products": products, "activities": activities, "orders": orders}

    def visits(self) -> list[tuple[int, int]]:
        """Size and number of blocks of each visit: up to the largest, and down again."""
        *smaller, largest = self.sizes
        half = [(size, self.blocks // 2) for size in smaller]
        return [*half, (largest, self.blocks), *reversed(half)]


DESIGNS = {
    "quick": GrowthDesign((500, 5_000), 6, 100, 200, 30),
    "full": GrowthDesign((1_000, 10_000, 100_000, 1_000_000), 6, 600, 3_000, 300),
}


def run(
    *,
    profile: str = "quick",
    design: GrowthDesign | None = None,
    folder: Path | None = None,
    progress: bool = True,
    urls: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Measure, save ``scale.json``, and leave no data in any server.

    Args:
        profile: ``quick`` (two sizes, and Redis alone beyond its memory) or ``full`` (up to a million
            activities, and each store beyond its memory).
        design: how much is measured; that of the profile when None.
        folder: results folder; that of the current run when None.
        progress: show a progress bar.
        urls: of the servers, by name; the resolved ones where none is given.

    Returns:
        What was saved as the record's data.

    Raises:
        HelpersError: a server cannot be reached or stops answering, or two stores answer differently;
            then nothing is saved.
    """
    statistics.prepare()
    design, urls = design or settings.of_profile(DESIGNS, profile), urls or {}
    visits = design.visits()
    steps = len(stores.NAMES) * sum(1 + blocks for _, blocks in visits) + beyond_memory.STEPS[profile]
    with bar(steps, "scale", unit="steps", enabled=progress) as shown:
        with stores.all_opened(urls) as opened:
            session = Session(design, opened, shown)
            for visit, (activities, blocks) in enumerate(visits):
                tables = design.tables(activities)
                with dataset.made(urls.get("postgres"), **tables, seed=design.seed) as made, loops.lean():
                    session.visit(visit, made, blocks)
            stated = {name: store.settings() for name, store in opened.items()}
            versions = {name: store.version() for name, store in opened.items()}
        beyond = beyond_memory.measure(profile, lambda _: shown.update())
    data = {
        "design": asdict(design)
        | {"sizes": list(design.sizes), "visits": [activities for activities, _ in visits]},
        "tables": {str(activities): design.tables(activities) for activities in design.sizes},
        "settings": stated,
        "answers": dict(session.asked),
        "space": session.space,
        **summary.summarise(session.blocks),
        "outgrown": beyond,
    }
    results.jsonschema().validate(data, SCALE)
    results.save("scale", data, profile=profile, servers=versions, folder=folder)
    return data


@dataclass
class Session:
    """A measurement under way: its design, stores and progress bar, and what it has found so far."""

    design: GrowthDesign
    opened: Mapping[str, Store]
    shown: Any
    blocks: list[Block] = field(default_factory=list)
    space: list[dict[str, Any]] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)

    def visit(self, visit: int, made: dataset.Dataset, blocks: int) -> None:
        """Load one size into every store, compare answers, note the space, time the blocks.

        Args:
            visit: its number, from 0.
            made: the rows.
            blocks: timed blocks of each store.
        """
        design = self.design
        first = made.population.activities not in {row["activities"] for row in self.space}
        for name, store in self.opened.items():
            space = self._loaded(name, store, made)
            if first:  # on the way down a server still holds what it took for more
                self.space.append(space)
            self.shown.update()
        self._compare(made)
        workload = Workload(made.population, seed=design.seed + visit)
        before = design.settle_operations + (0 if visit else design.warm_up_operations)
        self._timed(workload, before, list(self.opened))
        done = sum(block.activities == made.population.activities for block in self.blocks)
        start = done // len(self.opened)
        for number in range(start, start + blocks):
            order = phases.orders(list(self.opened), number + 1)[-1]
            for name, run in self._timed(workload, design.block_operations, order).items():
                self.blocks.append(_block(visit, made.population.activities, number, name, run))
                self.shown.update()
        self._compare(made)

    def _loaded(self, name: str, store: Store, made: dataset.Dataset) -> dict[str, Any]:
        if "relaxed" in store.tiers():
            store.set_durability("relaxed")
        store.create()
        with made.tables() as tables:
            before, began = store.server_rss_mb(), time.perf_counter()
            store.load(**tables)
        seconds, after = time.perf_counter() - began, store.server_rss_mb()
        size, activities = store.activity_size(), made.population.activities
        return {
            "activities": activities,
            "store": name,
            **asdict(size),
            "memory_per_activity": _each(size.memory_bytes, activities),
            "disk_per_activity": _each(size.disk_bytes, activities),
            "rss_before_mb": before,
            "rss_after_mb": after,
            "load_s": seconds,
        }

    def _timed(self, workload: Workload, operations: int, order: Sequence[str]) -> dict[str, loops.StoreRun]:
        """The same stream on each store, one after the other; answers kept on the way are compared."""
        streams = [workload.stream(operations, self.design.mix)]
        runs = {}
        for name in order:
            runs[name] = loops.closed(self.opened[name], streams)
        if not any(run.errors for run in runs.values()):  # a failed write leaves stores unequal
            self.asked["while timing"] += answers.compare_runs(runs)
        return runs

    def _compare(self, made: dataset.Dataset) -> None:
        opened = list(self.opened.values())
        self.asked.update(answers.compare(opened, made.population, users=ASKED_USERS, orders=ASKED_ORDERS))


def _block(visit: int, activities: int, number: int, name: str, run: loops.StoreRun) -> Block:
    latency_us: dict[str, list[float]] = {operation: [] for operation in comparison_workload.OPERATIONS}
    for operation, us in zip(run.operations, run.latency_us, strict=True):
        latency_us[operation].append(us)
    return Block(visit, activities, number, name, latency_us, run.errors)


def _each(size: int | None, activities: int) -> float | None:
    return None if size is None else round(size / activities, 2)


def describe(data: Mapping[str, Any]) -> list[str]:
    """What was measured, as lines for people."""
    lines = []
    for row in data["growth"]:
        verdict = "" if row["shown"] else ", no difference shown"
        lines.append(
            f"{row['operation']} on {row['store']}: {text.three(row['ratio'])} times the median "
            f"({text.three(row['low'])} to {text.three(row['high'])}) with {text.count(row['largest'])} "
            f"activities against {text.count(row['smallest'])}{verdict}"
        )
    largest = max(row["activities"] for row in data["space"])
    for row in data["space"]:
        if row["activities"] == largest:
            sizes = [
                f"{text.size_bytes(row[f'{kind}_per_activity'])} {where}"
                for kind, where in (("memory", "in memory"), ("disk", "on disk"))
                if row[f"{kind}_per_activity"] is not None
            ]
            lines.append(f"an activity in {row['store']}: {text.join(sizes) or 'not told by the server'}")
    lines += beyond_memory.describe(data["outgrown"])
    lines.append("saved: scale.json in the results folder")
    return lines
