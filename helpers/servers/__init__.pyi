from . import (
    cassandra as cassandra,
    cassandra_nodes as cassandra_nodes,
    connections as connections,
    link as link,
    machine as machine,
    mongodb as mongodb,
    mongodb_nodes as mongodb_nodes,
    redis as redis,
    redis_cluster as redis_cluster,
    redis_nodes as redis_nodes,
    scratch as scratch,
)
from .fleet import (
    cluster_status as cluster_status,
    down as down,
    status as status,
    up as up,
    up_cluster as up_cluster,
    versions as versions,
)
from .mongodb_nodes import (
    ReplicaSet as ReplicaSet,
)
from .redis_socket import (
    RedisSocket as RedisSocket,
)
from .removals import (
    removed as removed,
)
from .scratch import (
    Scratch as Scratch,
)
from .urls import (
    url as url,
)
from .writer import (
    Write as Write,
    Writer as Writer,
    lost as lost,
    outage_s as outage_s,
    unasked as unasked,
)
