"""To Kafka: an acknowledgement or an honest 503, never a hang.

kafka-python bounds neither memory nor waiting, so this does: by the bytes in flight and by the age of the oldest request
that Kafka has not answered. A request leaves the book only when Kafka answered, whatever its client was told meanwhile.
A watchdog ends the process where nothing is acknowledged although the brokers answer (see `make_producer` for the bug that
it guards against); a supervisor starts it again, and nothing that was answered `accepted` is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import structlog
from kafka import KafkaAdminClient, KafkaProducer
from kafka.errors import KafkaError

from schemas.reading import partition_of
from schemas.topics import Topic
from services.ingest.problems import unavailable
from services.shared.kafka import TopicMismatch, ensure_topics, make_producer

ACTIVITY, DIRECTORY = "learning.activity", "organisation.directory"
WATCHDOG_SECONDS = 20.0
_log = structlog.get_logger()


class Record(NamedTuple):
    topic: str
    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Limits:
    """`stall_seconds`: how old the oldest unanswered request may be, and how long one request waits."""

    inflight_bytes: int
    stall_seconds: float


class _Pending:
    """One request's records on their way. Callbacks come from the producer's thread, or from `send` itself."""

    __slots__ = ("_bridge", "_left", "_lock", "applied", "begun", "error", "future", "on_success", "size")

    def __init__(self, bridge: _Bridge, records: int, size: int, on_success: Callable[[], None]) -> None:
        self._bridge = bridge
        self._left = records
        self._lock = threading.Lock()
        self.size = size
        self.on_success = on_success
        self.begun = time.monotonic()
        self.applied: dict[tuple[str, int], int] = {}
        self.error: BaseException | None = None
        self.future: asyncio.Future[None] = bridge.loop.create_future()

    def acknowledged(self, metadata: Any) -> None:
        with self._lock:
            place = (metadata.topic, metadata.partition)
            self.applied[place] = max(self.applied.get(place, 0), metadata.offset + 1)
            self._left -= 1
            last = self._left == 0
        if last:
            self._bridge.done(self)

    def failed(self, error: BaseException, records: int = 1) -> None:
        with self._lock:
            self.error = error
            self._left -= records
            last = self._left == 0
        if last:
            self._bridge.done(self)


class _Bridge:
    """Hands finished requests from the producer's thread to the event loop, in bunches."""

    def __init__(self, loop: asyncio.AbstractEventLoop, finished: Callable[[_Pending], None]) -> None:
        self.loop = loop
        self._finished = finished
        self._lock = threading.Lock()
        self._bunch: list[_Pending] = []

    def done(self, pending: _Pending) -> None:
        with self._lock:
            self._bunch.append(pending)
            if len(self._bunch) > 1:
                return
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
            self.loop.call_soon_threadsafe(self._hand_over)

    def _hand_over(self) -> None:
        with self._lock:
            bunch, self._bunch = self._bunch, []
        for pending in bunch:
            self._finished(pending)


class Publisher:
    """The door's way to the log. Made inside the event loop; `start` returns at once, `ready` says when Kafka is known."""

    def __init__(
        self,
        bootstrap: str,
        topics: dict[str, Topic],
        replication: int,
        limits: Limits,
        end_process: Callable[[int], Any] = os._exit,
        watchdog_seconds: float = WATCHDOG_SECONDS,
    ) -> None:
        self._bootstrap = bootstrap
        self._topics = topics
        self._replication = replication
        self._limits = limits
        self._end_process = end_process
        self._watchdog_seconds = watchdog_seconds
        self._partitions = {name: topics[name].partitions for name in (ACTIVITY, DIRECTORY)}
        self._producer: KafkaProducer | None = None
        self._book: OrderedDict[int, _Pending] = OrderedDict()
        self._entry = 0
        self._bad_since: float | None = None  # since when nothing but failures came back
        self._tasks: list[asyncio.Task[None]] = []
        self.inflight_bytes = 0
        self.ready = False

    def start(self) -> None:
        self._bridge = _Bridge(asyncio.get_running_loop(), self._finished)
        self._tasks = [asyncio.create_task(self._connect()), asyncio.create_task(self._watch())]

    # -- the way of a request

    def oldest_seconds(self) -> float:
        """Age of the oldest request that Kafka has not answered; 0 where there is none."""
        for pending in self._book.values():
            return time.monotonic() - pending.begun
        return 0.0

    def gate(self, size: int) -> None:
        """Raises a 503 problem at once where a request of `size` bytes can't be taken now."""
        if not self.ready:
            raise unavailable("the brokers are not known yet", 2)
        if self.oldest_seconds() > self._limits.stall_seconds:
            raise unavailable("the brokers do not acknowledge at the moment", 2)
        if self._book and self.inflight_bytes + size > self._limits.inflight_bytes:
            raise unavailable("too much is on its way to the brokers")

    async def publish(self, records: list[Record], timestamp_ms: int, acknowledged: Callable[[], None]) -> dict[str, int]:
        """Send, wait for all in-sync replicas: `topic:partition` -> next offset. Raises a 503 problem, within stall_seconds.

        `acknowledged` is called once all records are, also where that comes after the 503.
        """
        producer = self._producer
        if producer is None:
            raise unavailable("the brokers are not known yet", 2)
        size = sum(len(record.value) + len(record.key) for record in records)
        self.gate(size)
        pending = _Pending(self._bridge, len(records), size, acknowledged)
        self._entry += 1
        self._book[self._entry] = pending
        self.inflight_bytes += size
        pending.future.add_done_callback(partial(self._leave, self._entry))
        self._send(producer, records, timestamp_ms, pending)
        try:
            await asyncio.wait_for(asyncio.shield(pending.future), self._limits.stall_seconds)
        except TimeoutError:
            raise unavailable("the brokers did not acknowledge in time", 2) from None
        if pending.error is not None:
            _log.warning("not acknowledged", error=type(pending.error).__name__)
            raise unavailable("the brokers did not take the events", 2)
        return {f"{topic}:{partition}": offset for (topic, partition), offset in sorted(pending.applied.items())}

    def _send(self, producer: KafkaProducer, records: list[Record], timestamp_ms: int, pending: _Pending) -> None:
        for number, (topic, key, value) in enumerate(records):
            partition = partition_of(key, self._partitions[topic])
            try:
                sent = producer.send(topic, value, key, partition=partition, timestamp_ms=timestamp_ms)
            except Exception as error:  # whatever it is, these records were not sent
                pending.failed(error, len(records) - number)
                return
            sent.add_callback(pending.acknowledged)
            sent.add_errback(pending.failed)

    def _finished(self, pending: _Pending) -> None:
        if pending.error is None:
            self._bad_since = None
            pending.on_success()
        elif self._bad_since is None:
            self._bad_since = time.monotonic()
        if not pending.future.done():
            pending.future.set_result(None)

    def _leave(self, entry: int, _: asyncio.Future[None]) -> None:
        pending = self._book.pop(entry)
        self.inflight_bytes -= pending.size

    # -- beginning, watching, ending

    async def _connect(self) -> None:
        while not self.ready:
            try:
                await asyncio.to_thread(self._meet)
                self.ready = True
                _log.info("ready", brokers=self._bootstrap)
            except TopicMismatch as error:
                _log.error("refusing to start", reason=str(error))
                self._end_process(78)
                return
            except Exception as error:  # not there yet, or not willing yet: ask again
                _log.info("waiting for the brokers", error=type(error).__name__)
                await asyncio.sleep(0.5)

    def _meet(self) -> None:
        ensure_topics(self._bootstrap, self._topics, self._replication, patience_seconds=2)
        if self._producer is None:
            self._producer = make_producer(self._bootstrap, "chalk-ingest")
        end = time.monotonic() + 10
        for topic in self._partitions:
            while True:
                try:
                    if len(self._producer.partitions_for(topic)) == self._partitions[topic]:
                        break
                except KafkaError:
                    if time.monotonic() > end:
                        raise
                time.sleep(0.02)

    async def _watch(self) -> None:
        answering_since: float | None = None
        while True:
            await asyncio.sleep(self._watchdog_seconds / 10)
            failing = 0.0 if self._bad_since is None else time.monotonic() - self._bad_since
            if max(self.oldest_seconds(), failing) < self._watchdog_seconds:
                answering_since = None
                continue
            if not await asyncio.to_thread(self._brokers_answer):
                answering_since = None
                continue
            answering_since = answering_since or time.monotonic()
            if time.monotonic() - answering_since >= self._watchdog_seconds / 2:
                _log.error("nothing is acknowledged although the brokers answer: ending, to be started again")
                self._end_process(70)
                return

    def _brokers_answer(self) -> bool:
        try:
            admin = KafkaAdminClient(
                bootstrap_servers=self._bootstrap.split(","), client_id="chalk-watchdog", bootstrap_timeout_ms=3000, request_timeout_ms=3000
            )
        except KafkaError:
            return False
        try:
            return ACTIVITY in admin.list_topics()
        except KafkaError:
            return False
        finally:
            admin.close()

    async def stop(self, seconds: float = 10.0) -> None:
        """Wait for what is on its way, at most `seconds`, then close."""
        self.ready = False
        for task in self._tasks:
            task.cancel()
        if self._book:
            await asyncio.wait([pending.future for pending in self._book.values()], timeout=seconds)
        if self._producer is not None:
            await asyncio.to_thread(self._producer.close, 2 if self._book else 5)
