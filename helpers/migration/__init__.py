"""The migration: a source and a target go in; rows moved, verified, followed and restored come out.

``migrate``, ``verify``, ``follow`` and ``restore`` take URLs and give their counts as plain values, which the
``describe`` beside each tells in lines. ``drop_slot`` ends following, and ``Lag`` is how far it is behind.
``Encoder`` makes commands of rows, a batch at a time.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
