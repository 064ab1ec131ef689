"""From a URL to a connection: to one server, or to all masters of the cluster that it belongs to."""

from helpers.errors import HelpersError
from helpers.target import resp
from helpers.target.cluster import Cluster, known
from helpers.target.topology import node_url


def connect(url: str) -> resp.Connection:
    """A connection to the server of a URL, or to all masters of the cluster that it belongs to.

    Raises:
        resp.Lost: it cannot be reached, nor, of a cluster that was reached before, any other node.
        HelpersError: it refuses.
    """
    try:
        first = resp.Connection(url)
    except resp.Lost as error:
        first = _another(url, error)
    try:
        if not _is_cluster(first):
            return first
        if url.startswith("unix:"):
            raise HelpersError(
                f"redis at {first.address}: this is a node of a Redis Cluster, whose others have no unix "
                "socket here; give redis:// or rediss:// with its host and port"
            )
        return Cluster(url, first)
    except BaseException:
        first.close()
        raise


def connect_single(url: str, doing: str) -> resp.Connection:
    """A connection to a server that belongs to no cluster.

    Args:
        url: of the server.
        doing: what needs it, for messages.

    Raises:
        HelpersError: it cannot be reached, refuses, or belongs to a cluster.
    """
    connection = connect(url)
    try:
        require_single(connection, doing)
    except HelpersError:
        connection.close()
        raise
    return connection


def require_single(connection: resp.Connection, doing: str) -> None:
    """Stop when the connection leads to a cluster.

    Args:
        connection: the target.
        doing: what needs a single server, for messages.

    Raises:
        HelpersError: it does.
    """
    if connection.clustered:
        raise HelpersError(
            f"redis at {connection.address}: this is a Redis Cluster, and {doing} needs one transaction over "
            "keys of several slots, which no cluster has; give a single Redis, or leave that out"
        )


def _another(url: str, lost: resp.Lost) -> resp.Connection:
    """A connection to another node than that of the URL; raises what that raised when there is none."""
    for address in known.get(url, ()):
        try:
            return resp.Connection(node_url(url, address))
        except resp.Lost:
            continue
    raise lost


def _is_cluster(connection: resp.Connection) -> bool:
    try:
        reply = connection.call("HELLO")  # any user may, and it changes nothing
    except resp.Refused as error:
        if error.code == "NOPERM" or "unknown command" in str(error):  # a proxy, which is one server to us
            return False
        raise
    return dict(zip(reply[::2], reply[1::2], strict=False)).get(b"mode") == b"cluster"
