"""The door and the console notice new rule files and become themselves anew: the same process, the new rules. Neither needs its servers
for that: they start without them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from deploy.demo.house import environment, with_free_ports
from services.shared.settings import ROOT, Settings

pytestmark = [pytest.mark.servers, pytest.mark.timeout(180)]


def answers(url: str) -> bool:
    """Whether anybody answers there, whatever they say."""
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=2):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def wait_for(what: object, log: Path, seconds: float = 60) -> None:
    assert callable(what)
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, log.read_text("utf-8")[-4000:]
        time.sleep(0.1)


@pytest.mark.parametrize("service", ["ingest", "reporting"])
def test_new_rules_start_a_service_again_as_the_same_process(service: str, tmp_path: Path) -> None:
    programmes = Path(shutil.copytree(ROOT / "schemas" / "programmes", tmp_path / "programmes"))
    values = with_free_ports(Settings(data=tmp_path / "data", programmes=programmes))
    port = values.ingest_port if service == "ingest" else values.reporting_port
    log = tmp_path / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", f"services.{service}"], cwd=ROOT, env=environment(values), stdout=out, stderr=subprocess.STDOUT
        )
    try:
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/readyz"), log)
        file = programmes / "zhuozhou-2023.yaml"
        good = file.read_text("utf-8")
        file.write_text("id: [", "utf-8")
        wait_for(lambda: "new rule files are refused" in log.read_text("utf-8"), log)
        assert answers(f"http://127.0.0.1:{port}/readyz") and "starting again" not in log.read_text("utf-8")
        file.write_text(good.replace("at_least: 32", "at_least: 30"), "utf-8")
        wait_for(lambda: "rule files changed, starting again" in log.read_text("utf-8"), log)
        told = len(log.read_text("utf-8"))
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/readyz") and len(log.read_text("utf-8")) > told, log)
        assert process.poll() is None
        time.sleep(5)  # two looks and more: it does not start again and again
        text = log.read_text("utf-8")
        assert text.count("rule files changed, starting again") == 1
        assert text.count(f"Started server process [{process.pid}]") == 2, text
    finally:
        process.terminate()
        process.wait(30)
