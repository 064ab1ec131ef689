"""Redis as the target: a URL goes in; a connection, the lease and checkpoint, and what Redis holds come out.

``connect`` opens one server, or a cluster as if it were one. ``Checkpoint`` is the state of a migration and
the right to change it, which ``checkpoint_of`` gives as the target needs it. ``keyspace`` finds and removes
the model's keys, ``rehearsal`` tries what a migration will do, ``resp`` and ``routing`` are the wire.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
