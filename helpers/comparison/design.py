"""How much a comparison measures, and in which order: everything that decides its numbers beside the
machine.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

from helpers.comparison import stores
from helpers.comparison.workload import MIXES


@dataclass(frozen=True)
class Design:
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
    open_shares: tuple[float, ...]
    open_blocks: int
    open_seconds: float
    floor_operations: int
    fsyncs: int
    strict_blocks: int
    strict_operations: int
    seed: int = 7
    mixes: tuple[str, ...] = tuple(MIXES)
    strict_mix: str = "50/50"
    busy_mix: str = "50/50"


DESIGNS = {
    "quick": Design(
        users=400,
        products=50,
        activities=6000,
        orders=1200,
        warm_up_operations=500,
        blocks=6,
        block_operations=280,
        concurrency=(1, 4, 16),
        concurrency_blocks=3,
        concurrency_operations=400,
        open_shares=(0.3, 0.7),
        open_blocks=1,
        open_seconds=1.2,
        floor_operations=500,
        fsyncs=40,
        strict_blocks=0,
        strict_operations=0,
    ),
    "full": Design(
        users=4000,
        products=400,
        activities=100_000,
        orders=20_000,
        warm_up_operations=6000,
        blocks=12,
        block_operations=2000,
        concurrency=(1, 4, 16),
        concurrency_blocks=6,
        concurrency_operations=2400,
        open_shares=(0.25, 0.5, 0.75),
        open_blocks=3,
        open_seconds=3.0,
        floor_operations=4000,
        fsyncs=400,
        strict_blocks=6,
        strict_operations=600,
    ),
}


def orders(names: Sequence[str], blocks: int) -> list[tuple[str, ...]]:
    """In which order the stores take their turns, by block: each is first, second and third equally often.

    The first three are the rotations of a Latin square, then come the other three permutations, and so on.
    """
    everything = sorted(permutations(names), key=lambda order: _is_rotation(order, names), reverse=True)
    return [everything[block % len(everything)] for block in range(blocks)]


def _is_rotation(order: Sequence[str], names: Sequence[str]) -> bool:
    start = order.index(names[0])
    return [*order[start:], *order[:start]] == list(names)


def steps(design: Design) -> int:
    """How many steps a progress bar over a comparison has."""
    each = len(stores.NAMES)
    closed = 1 + len(design.mixes) * design.blocks + len(design.concurrency) * design.concurrency_blocks
    strict = (2 + design.strict_blocks) if design.strict_blocks else 0
    return 1 + each * (1 + closed + len(design.open_shares) * design.open_blocks + strict)
