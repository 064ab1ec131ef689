"""How batches of changes come to a target: on one server in one ``EXEC``, in a cluster by its redo log."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol

from helpers.columns import column_of
from helpers.migration.effects import SCRIPT, Effects, Find, Place
from helpers.migration.ranks import ranks
from helpers.model import KeyKind
from helpers.target import Checkpoint, ClusterCheckpoint, encode, redo


class Writer(Protocol):
    """Writes to a target whose lease is held, each batch once."""

    def recover(self, state: Mapping[str, str]) -> None:
        """Bring what was begun to its end.

        Args:
            state: of the migration, as it is in the target.

        Raises:
            HelpersError: the target is not as it was left.
        """

    def write(
        self,
        effects: Effects,
        fields: Mapping[str, str],
        find: Find,
        doing: str,
        written: Callable[[], object],
    ) -> None:
        """Write changes, and set fields of the state behind them; it need not be done when this returns.

        Args:
            effects: the changes.
            fields: with their values.
            find: where rows stand in registers.
            doing: what this is, for messages.
            written: called once it is done, at the latest by ``Checkpoint.settle``.
        """

    def remove(self, keys: Sequence[bytes], doing: str) -> None:
        """Remove keys."""

    def look(self) -> None:
        """Called about twice a second."""


class OneServer:
    """A ``Writer`` to one server.

    Args:
        checkpoint: of the migration.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint

    def recover(self, state: Mapping[str, str]) -> None:
        """``Writer.recover``: what was begun was done, or nothing of it."""

    def write(
        self,
        effects: Effects,
        fields: Mapping[str, str],
        find: Find,
        doing: str,
        written: Callable[[], object],
    ) -> None:
        """``Writer.write``."""

        def settled(
            register: KeyKind, places: Sequence[Place]
        ) -> tuple[Sequence[tuple[int, int]], Mapping[bytes, int]]:
            self._checkpoint.settle()  # places are those behind it, and an error is that of it
            return find(register, places)

        commands = effects.commands(self._checkpoint.key, fields, settled)
        self._checkpoint.send(column_of(*commands), doing=doing, written=written)

    def remove(self, keys: Sequence[bytes], doing: str) -> None:
        """``Writer.remove``."""
        self._checkpoint.commit(column_of(encode("UNLINK", *keys)), doing=doing)

    def look(self) -> None:
        """``Writer.look``."""


class Nodes:
    """A ``Writer`` to a cluster.

    Args:
        checkpoint: of the migration.
    """

    def __init__(self, checkpoint: ClusterCheckpoint) -> None:
        self._redo = redo.Redo(checkpoint, SCRIPT.decode())
        self._rank = partial(ranks, checkpoint.connection)

    def recover(self, state: Mapping[str, str]) -> None:
        """``Writer.recover``."""
        self._redo.recover(state)

    def write(
        self,
        effects: Effects,
        fields: Mapping[str, str],
        find: Find,
        doing: str,
        written: Callable[[], object],
    ) -> None:
        """``Writer.write``; it is done when this returns."""
        self._redo.write(effects.apart(self._rank, find), fields, doing)
        written()

    def remove(self, keys: Sequence[bytes], doing: str) -> None:
        """``Writer.remove``."""
        self._redo.write([("C", 2, "UNLINK", key) for key in keys], {}, doing)

    def look(self) -> None:
        """``Writer.look``."""
        self._redo.forget()


def writer(checkpoint: Checkpoint) -> Writer:
    """What writes to the target of a checkpoint."""
    return Nodes(checkpoint) if isinstance(checkpoint, ClusterCheckpoint) else OneServer(checkpoint)


def begin(checkpoint: Checkpoint) -> dict[str, str]:
    """Make a target ready to be followed, behind all that was written; what the state is to say of it.

    Args:
        checkpoint: of the migration, whose lease is held.
    """
    if isinstance(checkpoint, ClusterCheckpoint):
        return redo.Redo(checkpoint, SCRIPT.decode()).begin()
    return {}


def end(checkpoint: Checkpoint, state: Mapping[str, str]) -> None:
    """Take away what following keeps in a target beside the state.

    Args:
        checkpoint: of the migration, whose lease is held.
        state: of it.
    """
    if isinstance(checkpoint, ClusterCheckpoint) and redo.NUMBER in state:
        redo.Redo(checkpoint, SCRIPT.decode()).end()
