"""The model: TOML and a catalogue go in; a checked plan of keys and streams comes out.

``load`` reads a ``Model`` of ``Key``s, ``propose`` makes one of the tables of a source, ``check`` says what
becomes of each table. A ``Plan`` is a model bound to its tables, from which writing, verifying, following and
restoring derive. A model can be written in Python, too::

    >>> from helpers.model import Key, Model
    >>> keys = [
    ...     Key("user:{user_id}", "hash", "users", {"name": "username", "email": "email"}),
    ...     Key("user:{user_id}:logins", "sorted_set", "logins", value="{login_id}", score="at"),
    ... ]
    >>> print(Model(keys).toml())
    [[key]]
    name = "user:{user_id}"
    type = "hash"
    table = "users"
    fields = { name = "username", email = "email" }
    <BLANKLINE>
    [[key]]
    name = "user:{user_id}:logins"
    type = "sorted_set"
    table = "logins"
    value = "{login_id}"
    score = "at"
    <BLANKLINE>
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
