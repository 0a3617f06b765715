"""What `services.shared.clickhouse` leans on inside clickhouse-driver; an upgrade that moves it fails here."""

from __future__ import annotations

import inspect
from importlib.metadata import version

import clickhouse_driver.client
import clickhouse_driver.connection
import pytest
from clickhouse_driver.streams import native

from services.shared.clickhouse import INTERNALS, _write_column


def test_the_version_is_the_one_that_was_read() -> None:
    assert version("clickhouse-driver") == "0.2.11"


@pytest.mark.parametrize(("owner", "name"), [(owner, name) for owner, names in INTERNALS.items() for name in names])
def test_it_is_there(owner: str, name: str) -> None:
    where = {"Client": clickhouse_driver.client.Client, "Connection": clickhouse_driver.connection.Connection}[owner]
    assert callable(getattr(where, name))


def test_an_insert_sends_its_data_by_that_name() -> None:
    assert "self.send_data(sample_block, data," in inspect.getsource(clickhouse_driver.client.Client.process_insert_query)
    assert list(inspect.signature(clickhouse_driver.client.Client.send_data).parameters) == [
        "self", "sample_block", "data", "types_check", "columnar",
    ]  # fmt: skip


def test_a_block_writes_its_columns_by_the_name_that_is_ours() -> None:
    assert native.write_column is _write_column
    assert "write_column(self.context, col_name, col_type, items," in inspect.getsource(native.BlockOutputStream.write)
