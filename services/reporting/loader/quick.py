"""`pack` and `pack_days` where `make setup` found a C compiler to compile them with; else every record goes the long way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.shared.packed import Packed

if TYPE_CHECKING:
    from services.reporting.loader.quick_columns import pack as pack
    from services.reporting.loader.quick_columns import pack_days as pack_days
else:
    try:
        from services.reporting.loader.quick_columns import pack, pack_days
    except (ImportError, AttributeError, TypeError, ValueError):  # or compiled for another machine, or beside another `quick_reader`

        def pack(records, partition, place):
            return Packed(0, (), []), records

        def pack_days(records, partition):
            return Packed(0, (), []), records
