"""What a migration refuses to touch, found out before anything is written."""

from helpers import model, resp, text
from helpers.errors import HelpersError
from helpers.transfer import target
from helpers.transfer.checkpoint import FORMAT, Checkpoint
from helpers.transfer.run import Run
from helpers.transfer.source import Source


def refuse(run: Run, source: Source, connection: resp.Connection, checkpoint: Checkpoint) -> None:
    """Stop before anything is written, when something there is not ours to change."""
    where = f"redis at {connection.address}"
    if not any(source.ask(f"SELECT EXISTS (SELECT FROM {t})")[0][0] for t in model.TABLES):
        raise HelpersError(
            f"postgres at {source.address}: all four tables are empty; check the URL, or fill them with "
            "`python -m helpers populate`"
        )
    state = checkpoint.read()
    if run.flushdb:
        return
    if not state:
        _refuse_foreign_keys(run, connection)
    elif state.get("format") != FORMAT:
        raise HelpersError(
            f"{where}: {checkpoint.key.decode()} is of format {state.get('format')!r}, not {FORMAT!r}; "
            "it was written by another version: use that one, or another --prefix"
        )
    elif state.get("source") != source.identity and not run.replace:
        raise HelpersError(
            f"{where}: holds a migration of another source ({state.get('source')}, not {source.identity}); "
            "use another --prefix, or --replace to remove it"
        )


def _refuse_foreign_keys(run: Run, connection: resp.Connection) -> None:
    for found in target.scan(connection, run.prefix):
        names = text.join([_printable(key) for _, key in found[:3]])
        raise HelpersError(
            f"redis at {connection.address}: holds keys of the model that no migration wrote (such as "
            f"{names}); "
            "use another --prefix or database, or remove them"
            + ("; --replace removes only what a migration recorded here" if run.replace else "")
        )


def _printable(key: bytes) -> str:
    """A key as one word for a message."""
    return key.decode("utf-8", "backslashreplace")
