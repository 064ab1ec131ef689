"""The four servers: a name goes in; a running server, its URL and a connection come out.

``up`` ``down`` ``status`` ``versions`` and ``url`` take the names ``postgres`` ``redis`` ``mongodb``
``cassandra``; ``connections`` opens a server, ``scratch`` starts a throw-away one, and further modules start
several nodes of one store.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
