"""One service as the chaos runs start it: the real program, with a chance to die where it hurts.

CHAOS_DIE=PLACE:COUNT makes the process dawdle, then kill itself (SIGKILL), when it passes PLACE for the COUNT-th time, once more in each
life (CHAOS_LIFE) than in the one before:
`begin` after a transaction was begun, `before` it is committed, `after` it was, `kept` when it is also on the worker's disk; `insert`
before rows go to ClickHouse, `inserted` after. Of scoring's places only those of a batch count: a worker that looks at its clock and has
nothing to say commits often, and to die there proves little.
CHAOS_DIE=halt-PLACE:COUNT stops it there (SIGSTOP) for longer than its session lasts: it is taken for dead, and then goes on.
Neither once the file CHAOS_QUIET is there. CHAOS_SESSION is the consumer groups' session timeout in seconds, so that a dead worker is
missed sooner than by the default of 6. Nothing of this is known to the services.
"""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import aiokafka

DIE, SESSION, QUIET, LIFE = "CHAOS_DIE", "CHAOS_SESSION", "CHAOS_QUIET", "CHAOS_LIFE"
LOADERS = ("insert", "inserted")
DAWDLE_SECONDS = 0.8
"""Longer than offsets wait for their commit (0.5 s): what was acknowledged too early is committed by the time of death."""
WATCH_SECONDS = 0.3
"""Between two looks at the rule files."""
OF_A_BATCH = 3
"""Passings of a place that are taken for a batch's after it was folded: planted mistakes make up to three transactions of it."""
HALT_SESSIONS = 2.0
"""How many sessions a halt lasts: by then the partitions are somebody else's, who has applied the same records."""


class Death:
    """Counts passings of one place, and dies or halts at one of them."""

    def __init__(self, text: str, life: int, session: float) -> None:
        place, _, count = text.partition(":")
        self.halts = place.startswith("halt-")
        self.place = place.removeprefix("halt-")
        self.left = int(count) + life if count else 0
        self.session = session
        self.due = 0  # passings that count

    def folded(self) -> None:
        """A batch was: what is committed next is of it."""
        self.due = OF_A_BATCH

    def at(self, place: str) -> None:
        """Blocks, then ends the process; or stops it for a while; or returns at once."""
        if place != self.place:
            return
        if place not in LOADERS:
            if not self.due:
                return
            self.due -= 1
        self.left -= 1
        if self.left or os.path.exists(os.environ[QUIET]):
            return
        if self.halts:
            print(f"chaos: halts at {place}", flush=True)
            waker = f"sleep {self.session * HALT_SESSIONS + 0.5:.1f}; kill -CONT {os.getpid()}"
            subprocess.Popen(["/bin/sh", "-c", waker], start_new_session=True)
            os.kill(os.getpid(), signal.SIGSTOP)
            return
        time.sleep(DAWDLE_SECONDS)
        print(f"chaos: dies at {place}", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)


def prepare(death: Death, session: float) -> None:
    """Put the places where one may die into the clients that the services use; before any module of theirs is loaded."""
    from services.shared import clickhouse, rules_watch, stream

    (stream.BatchApp.__init__.__kwdefaults__ or {})["session_timeout"] = session
    rules_watch.RulesWatch.__init__.__defaults__ = (WATCH_SECONDS,)
    rules_watch.restart = _restart
    producer = aiokafka.AIOKafkaProducer
    commit: Callable[[Any], Awaitable[None]] = producer.commit_transaction
    begin: Callable[[Any], Awaitable[None]] = producer.begin_transaction

    async def begun(self: Any) -> None:
        await begin(self)
        death.at("begin")

    async def committed(self: Any) -> None:
        death.at("before")
        await commit(self)
        death.at("after")

    producer.begin_transaction, producer.commit_transaction = begun, committed
    insert = clickhouse.insert

    def inserted(client: Any, table: str, columns: Any, values: Any) -> int:
        if table != "store.watermarks":
            death.at("insert")
        count = insert(client, table, columns, values)
        if table != "store.watermarks":
            death.at("inserted")
        return count

    clickhouse.insert = inserted


def _prepare_scoring(death: Death, life: int) -> None:
    from services.scoring import engine
    from services.scoring.disk import Database
    from services.scoring.partition import Partition

    if life % 2:  # as if it were far behind, of which a run of two thousand events has no time: several batches are told at once
        engine.BEHIND, engine.NEAR, engine.MOST_RECORDS, engine.MOST_LEARNERS, engine.MOST_SECONDS = 20, 5, 500, 40, 0.8

    tell = Partition.tell

    def told(self: Partition, clock_ms: int) -> Any:
        if self.untold:
            death.folded()
        return tell(self, clock_ms)

    Partition.tell = told  # type: ignore[method-assign]
    write: Callable[..., None] = Database.write

    def written(self: Database, rows: Any, offset: int | None = None) -> None:
        write(self, rows, offset)
        death.at("kept")

    Database.write = written  # type: ignore[method-assign]


def _restart(module: str) -> NoReturn:
    """As the product's, but into the wrapper again."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-m", "tests.chaos.service", module])


def main() -> None:
    """`-m MODULE` in sys.argv: be that service."""
    session = float(os.environ[SESSION])
    death = Death(os.environ.get(DIE, ""), int(os.environ[LIFE]), session)
    prepare(death, session)
    if sys.argv[1] == "services.scoring":
        _prepare_scoring(death, int(os.environ[LIFE]))
    runpy.run_module(sys.argv[1], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
