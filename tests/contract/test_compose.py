"""deploy/compose can't be run here; what its text says is compared with the code and with the local stack."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from xml.etree import ElementTree

import yaml

from deploy.local import kafka
from services.shared.settings import ROOT, Settings

FOLDER = ROOT / "deploy" / "compose"
COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text())
SERVICES = {name: one for name, one in COMPOSE["services"].items() if name not in ("kafka", "clickhouse")}


def test_every_service_runs_a_module_that_exists_with_settings_that_exist() -> None:
    assert set(SERVICES) == {"ingest", "scoring", "loader", "reporting"}
    known = {f"CHALK_{name.upper()}" for name in Settings.model_fields}
    for name, one in SERVICES.items():
        module = one["command"][2]
        assert importlib.util.find_spec(f"{module}.__main__"), f"{name} runs {module}, which is not there"
        assert set(one["environment"]) <= known
        assert set(one["depends_on"]) == {"kafka", "clickhouse"}


def test_ports_are_the_settings_defaults_and_open_to_this_machine_only() -> None:
    ports = {name: one.get("ports", []) for name, one in COMPOSE["services"].items()}
    default = {name: field.default for name, field in Settings.model_fields.items()}
    assert ports["ingest"] == [f"127.0.0.1:{default['ingest_port']}:{default['ingest_port']}"]
    assert ports["reporting"] == [f"127.0.0.1:{default['reporting_port']}:{default['reporting_port']}"]
    assert all(port.startswith("127.0.0.1:") for found in ports.values() for port in found)


def test_the_broker_is_set_like_the_local_one() -> None:
    local = dict(line.split("=", 1) for line in kafka.properties(Path("x"), Path("y"), 1, 2).splitlines())
    given = COMPOSE["services"]["kafka"]["environment"]
    same = {name: value for name, value in given.items() if name.startswith("KAFKA_") and name[6:].lower().replace("_", ".") in local}
    differ = {"KAFKA_LISTENERS", "KAFKA_ADVERTISED_LISTENERS", "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP", "KAFKA_CONTROLLER_QUORUM_VOTERS"}
    differ |= {"KAFKA_LOG_DIRS", "KAFKA_INTER_BROKER_LISTENER_NAME"}
    assert len(same) > 12
    for name in set(same) - differ:
        assert str(same[name]) == local[name[6:].lower().replace("_", ".")], name
    pom = (ROOT / "deploy" / "local" / "pom.xml").read_text()
    assert COMPOSE["services"]["kafka"]["image"].removeprefix("apache/kafka:") in pom


def test_the_image_is_built_from_files_that_exist_and_analysts_see_only_marts() -> None:
    for line in (FOLDER / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert (ROOT / source).exists(), line
    users = ElementTree.parse(FOLDER / "analyst.xml")
    assert [query.text for query in users.iter("query")] == ["GRANT SELECT ON marts.*"]
    assert "cannot be run" in (FOLDER / "README.md").read_text()
