"""`read_sound` where `make setup` found a C compiler to compile it with; else the long way reads every record, many times slower."""

from __future__ import annotations

from typing import TYPE_CHECKING

Interval = tuple[int, str, int]
"""A stretch of study: its start, its course, its end, in whole seconds since 1970."""

if TYPE_CHECKING:
    from schemas.quick_reader import Sound as Sound
    from schemas.quick_reader import read_sound as read_sound

    IS_COMPILED: bool
else:
    try:
        from schemas.quick_reader import Sound, read_sound

        IS_COMPILED = True
    except ImportError:  # or compiled for another machine
        Sound, IS_COMPILED = None, False

        def read_sound(value, subject, timestamp_ms):
            return None
