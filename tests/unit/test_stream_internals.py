"""The batch transport leans on internals of faust-streaming: an upgrade that moves one must fail here, by name."""

import inspect
from importlib.metadata import version

import aiokafka
import faust
import pytest
from faust.transport.drivers import aiokafka as driver

from services.shared.stream import INTERNALS


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


def test_isolation_level_is_read_when_the_consumer_starts():
    assert "self._isolation_level" in inspect.getsource(aiokafka.AIOKafkaConsumer.start)
