from .fleet import (
    Server as Server,
    cluster_status as cluster_status,
    down as down,
    status as status,
    up as up,
    up_cluster as up_cluster,
    versions as versions,
)
from .urls import url as url
