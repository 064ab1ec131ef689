"""Crashes on purpose: a migration in a process of its own, killed in the middle."""

import os
import signal
import subprocess
import sys
import time

from helpers import connections, model
from helpers.errors import HelpersError

PATIENCE_S = 60


def kill_migration(
    source: str, target: str, *, prefix: str = "", at_rows: int, batch_rows: int = 1000
) -> int:
    """Start ``python -m helpers migrate`` and kill it by SIGKILL once so many rows are committed.

    Args:
        source: PostgreSQL URL.
        target: Redis URL.
        prefix: stands before every key.
        at_rows: rows that the checkpoint must tell of before the kill.
        batch_rows: most rows in a batch.

    Returns:
        Rows that the checkpoint tells of after the kill.

    Raises:
        HelpersError: it ended before it could be killed; migrate more rows.
    """
    client = connections.redis(target, decode_responses=True)
    command = [
        sys.executable,
        "-m",
        "helpers",
        "migrate",
        "--prefix",
        prefix,
        "--batch-rows",
        str(batch_rows),
    ]
    # By environment, because anybody on the machine may read a command line.
    environment = {**os.environ, "POSTGRES_URL": source, "REDIS_URL": target}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + PATIENCE_S
        while _committed(client, prefix) < at_rows:
            if process.poll() is not None or time.monotonic() > deadline:
                raise HelpersError(
                    f"the migration could not be killed at {at_rows:,} rows: {_last_words(process)}"
                )
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if process.returncode != -signal.SIGKILL:
            raise HelpersError(
                f"the migration ended before it was killed at {at_rows:,} rows; migrate more rows"
            )
        return _committed(client, prefix)
    finally:
        process.kill()
        process.communicate()
        client.close()


def _committed(client: "connections.redis_py.Redis", prefix: str) -> int:
    state = client.hgetall(model.state_key(prefix))
    return sum(int(value) for name, value in state.items() if name.startswith("rows:"))


def _last_words(process: "subprocess.Popen[str]") -> str:
    process.kill()
    lines = process.communicate()[1].strip().splitlines()
    return lines[-1] if lines else "it said nothing"
