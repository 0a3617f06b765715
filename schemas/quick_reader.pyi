import builtins

from schemas.envelope import Frozen

TYPES: frozenset[str]

class Sound:
    programme: str
    subject: str
    source: str
    interval: tuple[int, str, int] | None
    time_ms: int
    ingested_ms: int
    @property
    def type(self) -> str: ...
    @property
    def model(self) -> builtins.type[Frozen]: ...
    @property
    def id(self) -> str: ...
    def fields(self) -> dict[str, object]: ...

def read_sound(value: bytes | None, subject: str | None, timestamp_ms: int) -> Sound | None: ...
