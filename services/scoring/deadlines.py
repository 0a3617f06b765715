"""When time alone changes somebody: one moment a learner, and a heap that costs nothing while nothing is due."""

from __future__ import annotations

import heapq
from collections.abc import Iterable

Key = tuple[str, str]


class Deadlines:
    """The next moment (ms since 1970) of each learner that has one.

    A learner's moment moves with every act, mostly later. So the heap is mostly left alone: what it holds of a learner is never later than
    the true moment, and what comes up too early is put back. Memory is by learners, not by acts.
    """

    def __init__(self) -> None:
        self._true: dict[Key, int] = {}
        self._planned: dict[Key, int] = {}
        self._heap: list[tuple[int, Key]] = []

    @classmethod
    def of(cls, moments: Iterable[tuple[Key, int | None]]) -> Deadlines:
        made = cls()
        made._true = {key: at for key, at in moments if at is not None}
        made._planned = dict(made._true)
        made._heap = [(at, key) for key, at in made._true.items()]
        heapq.heapify(made._heap)
        return made

    def put(self, key: Key, at: int | None) -> None:
        """The learner's next moment from now on; None: time alone changes nothing."""
        if at is None:
            self._true.pop(key, None)
            return
        self._true[key] = at
        planned = self._planned.get(key)
        if planned is None or at < planned:
            self._plan(key, at)

    def _plan(self, key: Key, at: int) -> None:
        self._planned[key] = at
        heapq.heappush(self._heap, (at, key))

    def any_by(self, now: int) -> bool:
        """Whether somebody's moment has come."""
        self._settle(now)
        return bool(self._heap) and self._heap[0][0] <= now

    def pop(self, now: int) -> Key | None:
        """Somebody whose moment has come, who then has none; None where nobody's has."""
        if not self.any_by(now):
            return None
        _, key = heapq.heappop(self._heap)
        del self._planned[key], self._true[key]
        return key

    def _settle(self, now: int) -> None:
        """Puts back whoever comes up before their moment, and forgets moments that no longer hold."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            at, key = heap[0]
            if self._planned.get(key) == at and self._true.get(key) == at:
                return
            heapq.heappop(heap)
            if self._planned.get(key) == at:
                del self._planned[key]
                true = self._true.get(key)
                if true is not None:
                    self._plan(key, true)
