"""`pack` where `make setup` found a C compiler to compile it with; else every record goes the long way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.shared.packed import Packed

if TYPE_CHECKING:
    from services.reporting.loader.quick_columns import pack as pack
else:
    try:
        from services.reporting.loader.quick_columns import pack
    except ImportError:  # or compiled for another machine

        def pack(records, partition, place):
            return Packed(0, (), []), records
