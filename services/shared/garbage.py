"""Python's collector of cycles, for a process that keeps millions of objects and makes hundreds of thousands a second.

By itself it walks what is kept again and again: a quarter of scoring's work, and seconds of standstill where much is kept. Here only
what is made between two pieces of work is looked at. What work makes and keeps is never walked; it is freed all the same once nothing
refers to it, unless it is part of a cycle, so whoever makes one there has to break it.
"""

from __future__ import annotations

import gc


def take_over() -> None:
    """From here on nothing is looked at but by the functions below."""
    gc.disable()
    settle()


def settle() -> None:
    """After much has come that stays: looks at it once."""
    gc.collect()
    gc.freeze()


def before_work() -> None:
    """Frees the cycles that were left behind since the last piece of work."""
    gc.collect(0)


def after_work() -> None:
    """What is there now stays unlooked at; nothing else may have run since `before_work`."""
    gc.freeze()
