"""How an older version of an event becomes the current one.

Every published version keeps its model and its frozen JSON Schema for ever: the log is never rewritten, and old platforms go
on sending. The day a `….v2` is declared, the `v1` gets an entry in UPCASTS: a function from the sound `v1` data model to the
`v2` one. `reading` calls `upcast` on everything it reads, so that nothing behind it knows an old shape. The content digest
is made from the version that was received, before the upcast, since the same fact must keep its digest.

Today every type has one version, and upcasting is the identity.
"""

from __future__ import annotations

from collections.abc import Callable

from schemas.envelope import Frozen

UPCASTS: dict[str, Callable[[Frozen], Frozen]] = {}


def upcast(type_text: str, data: Frozen) -> Frozen:
    """The current version's data model of a sound event of `type_text`."""
    step = UPCASTS.get(type_text)
    return data if step is None else step(data)
