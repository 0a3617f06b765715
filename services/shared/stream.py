"""Whole fetched batches of a partition as faust messages: the one way scoring and the loader read Kafka.

    app = BatchApp("chalk-loader", bootstrap, {"learning.progress": handle, ...})
    await app.run()                    # until SIGTERM/SIGINT; every unexpected error ends the process with exit status 70

`handle(batch)` is awaited for one `Batch` after another of its topic; it calls `batch.ack()`, at once or later, when all effects of the
batch are durable, in order within a partition. Offsets are committed up to what was acknowledged and never beyond; a batch
fetched before a seek (so before a rebalance) is dropped unhandled, because the partition is read again; batches are numbered on the way,
and a hole ends the process rather than lose one. Readers are at
read_committed, so `records[-1].offset + 1` may be lower than where the log goes on (transaction markers take offsets).

Stock faust hands over one message at a time (3-5k/s), acknowledges an event whose agent raised and goes on (loss), and stalls
its commits at the offset gaps that transactions leave; this module replaces those parts of its consumer. It leans on internal names
of faust-streaming 0.15.3 (`INTERNALS`); a test states each, so that an upgrade fails loudly.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import faust
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.errors import CorruptRecordException, UnsupportedCodecError
from faust.transport.consumer import ensure_TP
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from services.shared.membership import Membership
from services.shared.record import Record

INTERNALS = {
    "Consumer": [
        "getmany",
        "_wait_next_records",
        "perform_seek",
        "_buffered_partitions",
        "flow_active",
        "_acked",
        "_acked_index",
        "_unacked_messages",
        "_wait_for_ack",
        "_new_offset",
        "_add_gap",
        "_to_message",
        "_read_offset",
        "_committed_offset",
        "_seek",
        "highwater",
        "highwaters",
        "_thread",
    ],
    "App": ["consumer_generation_id", "_on_partitions_assigned"],
    "Thread": ["_create_worker_consumer", "_ensure_consumer"],
    "Coordinator": ["member_id"],
    "PartitionRecords": ["_consumer_record"],
}


FETCH_WAIT_MS = 100
"""How long the broker holds a fetch that finds nothing. Whatever else is asked of it waits behind that on the same connection, and so do
partitions that were emptied meanwhile: with faust's 1,500 pages spoke as of seconds ago, and a take-over took six."""
STUCK_SESSIONS = 10
"""Session timeouts that a rebalance may take, recovery apart."""


@dataclass(slots=True)
class Batch:
    """Records of one partition in offset order, at least one."""

    topic: str
    partition: int
    records: list[Record]
    _ack: Callable[[], None] = field(repr=False)
    _drop: Callable[[], None] = field(repr=False)

    @property
    def next_offset(self) -> int:
        return self.records[-1].offset + 1

    def ack(self) -> None:
        """Everything this batch caused is durable: its offsets may be committed."""
        self._ack()

    def drop(self) -> None:
        """The partition is no longer ours: forget the batch; whoever owns the partition reads it again."""
        self._drop()


Handler = Callable[[Batch], Awaitable[None]]


class _Consumer(driver.Consumer):  # type: ignore[misc]
    """faust's consumer, yielding one message per fetched (partition, batch)."""

    ticket = 0
    """Raised by every seek: what was fetched under an older ticket is read again, so it must be dropped."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fetched: dict[TP, int] = {}
        self.handed: dict[TP, int] = {}
        self.ends: dict[TP, int] = {}

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:  # noqa: ASYNC109
        ticket = self.ticket
        try:
            records, active = await self._wait_next_records(timeout)
        except (UnsupportedCodecError, CorruptRecordException) as error:  # stock faust would only stop to fetch
            die(f"a batch in the log can't be unpacked: {error}. Nothing is skipped: whatever reads it goes on from here.")
        if records is None or self.should_stop:
            return
        if not self.flow_active or ticket != self.ticket:
            # A rebalance is under way, or there was a seek meanwhile: nobody knows from which side of it these are.
            if records:
                await self.perform_seek()
            return
        batches = []
        for raw_tp, batch in records.items():
            tp = ensure_TP(raw_tp)
            if batch:  # numbered before any can get lost: a hole in the numbers ends the process
                number = self.fetched[tp] = self.fetched.get(tp, 0) + 1
                batches.append((tp, number, batch))
        for tp, number, batch in batches:
            if not self.flow_active or ticket != self.ticket:
                return
            if active is None or tp in active or tp in self._buffered_partitions:
                self.ends[tp] = self.highwater(tp) or 0
                self.app.monitor.track_tp_end_offset(tp, self.ends[tp])
                last = batch[-1]
                yield (
                    tp,
                    ConsumerMessage(
                        tp.topic, tp.partition, last.offset, (last.timestamp or 0) / 1000.0, last.timestamp_type,
                        (), None, (ticket, number, batch), None, 0, 0, tp, generation_id=self.app.consumer_generation_id,
                    ),
                )  # fmt: skip

    def take(self, tp: TP, ticket: int, number: int) -> bool:
        """Whether a batch is to be handled; False: it is read again. Ends the process where one before it got lost on the way."""
        if ticket != self.ticket:
            return False
        if number != self.handed.get(tp, 0) + 1:
            die(f"{tp}: batch {number} follows {self.handed.get(tp, 0)}")
        self.handed[tp] = number
        return True

    async def perform_seek(self) -> None:
        """To the committed offsets, or to where the application's own state says it is."""
        self.ticket += 1
        self.app.chalk_joined(self._thread._ensure_consumer()._coordinator.member_id)
        await super().perform_seek()
        positions = self.app.chalk_positions
        if positions is not None:
            for tp, offset in (await positions({ensure_TP(tp) for tp in self.assignment()})).items():
                self._read_offset[tp] = None
                self._committed_offset[tp] = None  # commits may go back: a rebuild reads the log again
                await self._seek(tp, offset)
        self.fetched.clear()
        self.handed.clear()
        self.ticket += 1  # what was fetched between the two is dropped as well

    def _new_offset(self, tp: TP) -> int | None:
        acked = self._acked[tp]  # handlers acknowledge in order within a partition: the highest is committable
        if not acked:
            return None
        top: int = max(acked)
        self._acked_index[tp].difference_update(acked)
        acked.clear()
        return top + 1

    async def _wait_for_ack(self, timeout: float) -> None:  # noqa: ASYNC109
        """faust comes here, before a rebalance or a stop, as long as anything is unacknowledged; what is held back on purpose until
        other partitions have gone on would never be."""
        self.app.chalk_let_go()
        if self._unacked_messages:
            await super()._wait_for_ack(timeout)

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Every batch is a "gap" to stock faust, which would remember it for ever."""


class _Thread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"  # faust sets it with its broken exactly_once only
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        consumer._key_deserializer = _as_read
        return consumer


def _as_read(key: bytes | None) -> bytes | None:
    return key


def _record(self: Any, tp: Any, record: Any) -> Any:
    """aiokafka copies each record into one of eleven fields, a third of what fetching costs; as read it has all that `Record` has."""
    return record if self._key_deserializer is _as_read else _copied(self, tp, record)


_copied = PartitionRecords._consumer_record
PartitionRecords._consumer_record = _record


class _CommittedConsumer(_Consumer):
    def _new_consumer_thread(self) -> Any:
        return _Thread(self, loop=self.loop, beacon=self.beacon)


class _Transport(driver.Transport):  # type: ignore[misc]
    Consumer = _CommittedConsumer


class _Schema(faust.Schema):  # type: ignore[misc]
    def loads_key(self, app: Any, message: Any, *, loads: Any = None, serializer: Any = None) -> None:
        return None

    def loads_value(self, app: Any, message: Any, *, loads: Any = None, serializer: Any = None) -> Any:
        return message.value  # (ticket, number, records), untouched


def die(reason: str) -> NoReturn:
    """End the process at once, leaving what is under way uncommitted: whoever starts it again reads it again."""
    traceback.print_exc()
    print(f"fatal: {reason}", flush=True)
    os._exit(70)


Positions = Callable[[set[TP]], Awaitable[Mapping[TP, int]]]


class BatchApp:
    """A faust app of batch agents, one a topic.

    `folder` is this process's alone (`worker_folder`), and the next one's that is started in its place.

    `positions(assigned) -> {tp: next offset}` is awaited before anything is fetched after each assignment (so state is recovered
    there) and says where to read from instead of the committed offset; `revoked(tps)` before partitions go elsewhere. Before that, and
    before a stop, every batch has to be acknowledged or dropped: `let_go()` is called, maybe often, to drop those that are held back.
    """

    def __init__(
        self,
        name: str,
        bootstrap: str,
        handlers: Mapping[str, Handler],
        *,
        folder: Path,
        positions: Positions | None = None,
        revoked: Callable[[set[TP]], Awaitable[None]] | None = None,
        let_go: Callable[[], None] = lambda: None,
        session_timeout: float = 6.0,
        max_fetch_bytes: int = 4 << 20,
        max_records: int | None = None,
    ) -> None:
        self.app = faust.App(
            name,
            broker=";".join(f"kafka://{one}" for one in bootstrap.split(",")),
            store="memory://",
            datadir=str(folder / "faust"),
            web_enabled=False,
            topic_disable_leader=True,
            table_standby_replicas=0,
            broker_commit_interval=0.5,
            stream_buffer_maxsize=16,
            consumer_max_fetch_size=max_fetch_bytes,
            broker_max_poll_records=max_records,
            broker_session_timeout=session_timeout,
            broker_heartbeat_interval=session_timeout / 4,
            stream_processing_timeout=10**9,  # faust calls a stream slow that waits for ClickHouse or a long batch
            broker_request_timeout=300.0,  # also bounds `positions`, so a recovery
            consumer_auto_offset_reset="earliest",
            # A broker that has just started may know no topics yet: a group shared out then gets nothing until somebody looks.
            consumer_metadata_max_age_ms=5_000,
        )
        self._positions, self._settling, self._session_timeout = positions, 0, session_timeout
        self.app.chalk_positions = None if positions is None else self._settled
        self.app.chalk_let_go = let_go
        self._membership = Membership(folder, bootstrap, name)
        self.app.chalk_joined = self._membership.note
        self.app.transport = _Transport(self.app.conf.broker_consumer, self.app)
        if revoked is not None:
            hook = revoked

            async def on_revoked(app: Any, tps: set[TP], **_: Any) -> None:
                await hook(tps)

            self.app.on_partitions_revoked.connect(on_revoked)
            self._keep = on_revoked  # signals hold weak references
        self.stopping = asyncio.Event()
        self.told_to_end = False  # by a signal, so it is not for itself to start again, whatever else it was to stop for
        for topic, handle in handlers.items():
            self._agent(topic, handle)

    def _agent(self, topic: str, handle: Handler) -> None:
        app = self.app

        @app.agent(app.topic(topic, schema=_Schema(key_type=bytes, value_type=bytes), value_type=bytes), name=f"batch:{topic}")  # type: ignore[untyped-decorator]
        async def run(stream: Any) -> None:
            try:
                async for event in stream.noack().events():
                    message = event.message
                    drop = partial(app.consumer._unacked_messages.discard, message)
                    ticket, number, records = event.value
                    if not app.consumer.take(message.tp, ticket, number):
                        drop()  # acknowledged, it could be committed unhandled; kept, a stop would wait for it
                        continue
                    await handle(Batch(topic, message.partition, records, event.ack, drop))
            except asyncio.CancelledError:
                raise
            except BaseException as error:
                die(f"{topic}: {error!r}")

    async def _settled(self, assigned: set[TP]) -> Mapping[TP, int]:
        assert self._positions is not None
        self._settling += 1
        try:
            return await self._positions(assigned)
        finally:
            self._settling -= 1

    async def _watch(self) -> None:
        """Of two rebalances in quick succession faust may finish neither: then it hands over nothing, says nothing, and keeps its place in
        the group. Nobody else would notice, so the process ends, to be started again."""
        since = None
        while not self.stopping.is_set():
            await asyncio.sleep(0.5)
            if self.app.consumer.flow_active or self._settling:
                since = None
            elif since is None:
                since = time.monotonic()
            elif time.monotonic() - since > STUCK_SESSIONS * self._session_timeout:
                die(f"no rebalance has come to its end for {STUCK_SESSIONS * self._session_timeout:.0f} s")

    async def end_offsets(self, topic: str, partitions: list[int]) -> dict[int, int]:
        """Next offset of each partition as the broker has it now."""
        found = await self.app.consumer.highwaters(*(TP(topic, p) for p in partitions))
        return {tp.partition: offset for tp, offset in found.items()}

    def waiting(self, topic: str, partition: int) -> bool:
        """Whether a batch of the partition is on its way to its handler, or not yet acknowledged."""
        tp, consumer = TP(topic, partition), self.app.consumer
        return consumer.fetched.get(tp) != consumer.handed.get(tp) or any(message.tp == tp for message in consumer.unacked)

    def lag(self, topic: str, partition: int, offset: int) -> int:
        """How far the partition's end lay beyond `offset` when last fetched from; 0 where that is not known."""
        end: int = self.app.consumer.ends.get(TP(topic, partition), 0)  # to ask the reader itself is an error during a rebalance
        return max(end - offset, 0)

    async def start(self) -> None:
        await asyncio.to_thread(self._membership.end_former)
        await self.app.start()

    async def run(self) -> None:
        """Start, then work until SIGTERM or SIGINT; stops gracefully (what is acknowledged is committed)."""
        loop = asyncio.get_running_loop()

        def told() -> None:
            self.told_to_end = True
            self.stopping.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, told)
        await self.start()
        watching = asyncio.create_task(self._watch())
        await self.stopping.wait()
        watching.cancel()
        try:
            await asyncio.wait_for(self.app.stop(), 20)
        except TimeoutError:
            print("stop took too long; what is uncommitted will be read again", flush=True)
        else:
            self._membership.forget()
