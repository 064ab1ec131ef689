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
