"""The model: a row of PostgreSQL goes in; keys and values of Redis come out, and the way back.

``*_key`` names a key, ``encode_*`` makes values and ``decode_*`` rows again, ``reject_reason`` says why a row
cannot be held. ``KEPT`` says the same in SQL, and ``PARTS`` is what a load reads of each table.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
