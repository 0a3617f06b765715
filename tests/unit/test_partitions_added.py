"""A partition that is added while a service runs is refused by name, before anything is read from it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from services.scoring import engine as module
from services.scoring.engine import Engine
from services.shared.kafka import TopicMismatch, check_assigned


def test_what_the_file_knows_is_taken() -> None:
    check_assigned([("learning.activity", 3), ("learning.watermarks", 0)], {"learning.activity": 4, "learning.watermarks": 1})


def test_what_it_does_not_know_is_refused() -> None:
    said = r"topic learning.days has got a partition 4, but schemas/topics/learning.days.yaml says 4\. A partition count never changes"
    with pytest.raises(TopicMismatch, match=said):
        check_assigned([("learning.days", 3), ("learning.days", 4)], {"learning.days": 4})


def test_scoring_takes_no_such_partition(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(module, "die", said.append)
    engine: Any = object.__new__(Engine)
    engine._take_over, engine._owned, engine._moving = SimpleNamespace(partitions=4), {}, asyncio.Lock()
    with pytest.raises(TopicMismatch):
        asyncio.run(engine.positions({TP("learning.activity", 4)}))
    assert "topic learning.activity has got a partition 4" in said[0]
