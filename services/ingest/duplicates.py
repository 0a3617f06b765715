"""A bounded memory of what was acknowledged, so that a repeated event can be answered `duplicate` and not stored again.

Only a convenience: totals never depend on it, since everything behind the log folds facts as a set. So it may forget, but
must never name an event that the brokers did not acknowledge.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from schemas.reading import Event


def fact_key(event: Event) -> bytes:
    """128 bits that stand for (source, id, content)."""
    text = f"{len(event.source)} {event.source}{event.id}{event.digest}"
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


class Memory:
    """Remembers at least the last `size` / 2 keys, and never more than `size`, in two generations."""

    def __init__(self, size: int) -> None:
        self._half = max(size // 2, 1)
        self._young: set[bytes] = set()
        self._old: set[bytes] = set()

    def __contains__(self, key: bytes) -> bool:
        return key in self._young or key in self._old

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def add(self, key: bytes) -> None:
        if len(self._young) >= self._half:
            self._old, self._young = self._young, set()
        self._young.add(key)

    def update(self, keys: Iterable[bytes]) -> None:
        for key in keys:
            self.add(key)
