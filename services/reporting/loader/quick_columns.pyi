from collections.abc import Callable, Sequence

from services.shared.packed import Packed
from services.shared.record import Record

def pack(records: Sequence[Record], partition: int, place: Callable[[bytes | None], str | None]) -> tuple[Packed, Sequence[Record]]: ...
def pack_days(records: Sequence[Record], partition: int) -> tuple[Packed, Sequence[Record]]: ...
