"""PostgreSQL as the source: a URL goes in; a snapshot's rows, definitions of tables, and the log come out.

``Source`` is one snapshot of a model's tables, whose rows ``copytext`` and ``copybinary`` make into columns.
``slot`` makes a snapshot with a place in the log, from which ``Stream`` reads what ``pgoutput`` decodes.
``catalogue`` says what any schema holds, ``tables`` binds a model to it, ``follow_checks`` says whether
it can be followed.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
