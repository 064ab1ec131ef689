from .fleet import Server as Server
from .fleet import cluster_status as cluster_status
from .fleet import down as down
from .fleet import status as status
from .fleet import up as up
from .fleet import up_cluster as up_cluster
from .fleet import versions as versions
from .urls import url as url
