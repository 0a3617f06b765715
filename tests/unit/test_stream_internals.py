"""The batch transport leans on internals of faust-streaming: an upgrade that moves one must fail here, by name."""

import asyncio
import inspect
from importlib.metadata import version

import aiokafka
import faust
import pytest
from aiokafka.codec import lz4_encode
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from faust.transport.drivers import aiokafka as driver

from services.scoring import writer  # noqa: F401 (sets the level)
from services.shared import stream
from services.shared.stream import INTERNALS, TP


@pytest.fixture(scope="module")
def consumer():
    app = faust.App("internals", broker="kafka://127.0.0.1:1", store="memory://", web_enabled=False)
    made = driver.Transport(app.conf.broker_consumer, app)
    return made.create_consumer(callback=print, on_partitions_revoked=print, on_partitions_assigned=print)


def test_the_version_is_the_one_that_was_read():
    assert version("faust-streaming") == "0.15.3"


@pytest.mark.parametrize("name", INTERNALS["Consumer"])
def test_consumer(name, consumer):
    assert hasattr(consumer, name)


@pytest.mark.parametrize("name", INTERNALS["App"])
def test_app(name):
    assert hasattr(faust.App("internals", broker="kafka://127.0.0.1:1"), name)


def test_the_worker_consumer_is_made_where_we_set_its_isolation():
    assert callable(driver.AIOKafkaConsumerThread._create_worker_consumer)
    assert callable(driver.Consumer._new_consumer_thread)


def test_the_member_is_known_where_we_look_for_it():
    assert callable(driver.AIOKafkaConsumerThread._ensure_consumer)
    assert "self.member_id = " in inspect.getsource(GroupCoordinator.__init__)


def test_isolation_level_is_read_when_the_consumer_starts():
    assert "self._isolation_level" in inspect.getsource(aiokafka.AIOKafkaConsumer.start)


def test_how_long_a_fetch_is_held_is_read_when_the_consumer_starts():
    assert "fetch_max_wait_ms=self._fetch_max_wait_ms" in inspect.getsource(aiokafka.AIOKafkaConsumer.start)


def test_the_worker_consumer_has_our_isolation_and_our_wait(tmp_path):
    async def body():
        app = stream.BatchApp("internals", "127.0.0.1:1", {}, folder=tmp_path).app
        made = app.consumer._new_consumer_thread()._create_worker_consumer(app.transport)
        assert (made._isolation_level, made._fetch_max_wait_ms) == ("read_committed", stream.FETCH_WAIT_MS)
        assert made._key_deserializer is stream._as_read

    asyncio.run(body())


def test_the_deserializers_reach_where_records_are_made():
    assert "self._key_deserializer" in inspect.getsource(aiokafka.AIOKafkaConsumer.start)
    assert "self._key_deserializer" in inspect.getsource(PartitionRecords.__init__)
    assert "self._consumer_record(tp, record)" in inspect.getsource(PartitionRecords._unpack_records)


def test_only_the_streams_own_consumer_hands_records_over_as_they_were_read():
    builder = DefaultRecordBatchBuilder(2, 0, False, -1, -1, 0, 10_000)
    builder.append(0, 1_700_000_000_000, b"k", b"v", [])
    bytes_of_batch = bytes(builder.build())
    for deserializer, copied in ((stream._as_read, False), (None, True)):
        [record] = PartitionRecords(TP("t", 0), MemoryRecords(bytes_of_batch), [], 0, deserializer, None, True, 0)
        assert (record.offset, record.timestamp, record.timestamp_type, record.key, record.value) == (0, 1_700_000_000_000, 0, b"k", b"v")
        assert isinstance(record, aiokafka.ConsumerRecord) == copied


def test_scoring_compresses_at_its_own_level():
    builder = DefaultRecordBatchBuilder(2, 3, False, -1, -1, 0, 100_000)
    text = b" ".join(b"%d" % (n * n) for n in range(5_000))
    builder.append(0, 1_700_000_000_000, b"k", text, [])
    made = bytes(builder.build())
    plain = DefaultRecordBatchBuilder(2, 0, False, -1, -1, 0, 100_000)
    plain.append(0, 1_700_000_000_000, b"k", text, [])
    payload = bytes(plain.build())[61:]  # behind the header of a batch
    levels = {len(made) - 61: level for level in (1, 9) if made[61:] == lz4_at(level, payload)}
    assert list(levels.values()) == [1]


def lz4_at(level: int, payload: bytes) -> bytes:
    return lz4_encode(payload, level=level)
