"""When a service notices other rule files: at rest, sound, and with another meaning."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from schemas.programme import load_programmes
from services.shared.rules_watch import RulesWatch, fingerprint
from services.shared.settings import ROOT

SHIPPED = ROOT / "schemas" / "programmes"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SHIPPED, tmp_path / "programmes"))


def watch(folder: Path) -> RulesWatch:
    return RulesWatch(folder, load_programmes(folder), lambda: None)


def raised(path: Path, by: int = 1) -> None:
    """The same rules under a later rules_version."""
    head, _, rest = path.read_text("utf-8").partition("rules_version: ")
    number, _, tail = rest.partition("\n")
    path.write_text(f"{head}rules_version: {int(number.split()[0]) + by}\n{tail}", "utf-8")


def test_files_that_say_the_same_are_no_change(folder: Path) -> None:
    one = watch(folder)
    path = folder / "zhuozhou-2023.yaml"
    assert [one.look(), one.look(), one.look()] == [False] * 3
    path.write_text("# a comment\n" + path.read_text("utf-8"), "utf-8")
    (folder / "notes.txt").write_text("no rule file", "utf-8")
    assert [one.look(), one.look(), one.look()] == [False] * 3
    assert not one.changed


def test_a_change_counts_at_the_second_look_that_sees_it(folder: Path) -> None:
    one = watch(folder)
    one.look()
    raised(folder / "zhuozhou-2023.yaml")
    assert not one.look()
    raised(folder / "guopei-shaanxi-2023.yaml")  # the second file of the set comes
    assert not one.look()
    assert one.look() and one.changed


def test_a_change_between_the_service_s_loading_and_the_first_look_counts(folder: Path) -> None:
    one = watch(folder)
    raised(folder / "zhuozhou-2023.yaml")
    assert [one.look(), one.look()] == [False, True]


@pytest.mark.parametrize("harm", ["broken", "twice", "gone"])
def test_a_set_that_is_refused_is_logged_once_and_the_next_sound_one_counts(folder: Path, harm: str) -> None:
    one, path = watch(folder), folder / "zhuozhou-2023.yaml"
    good = path.read_text("utf-8")
    if harm == "broken":
        path.write_text("id: [", "utf-8")
    elif harm == "twice":
        (folder / "again.yaml").write_text(good, "utf-8")
    else:
        shutil.rmtree(folder)
        folder.mkdir()
    with capture_logs() as logs:
        assert [one.look() for _ in range(4)] == [False] * 4
    assert len([log for log in logs if log["log_level"] == "error"]) == 1
    shutil.rmtree(folder)
    shutil.copytree(SHIPPED, folder)
    assert [one.look() for _ in range(3)] == [False] * 3  # back where it was
    raised(path)
    assert [one.look(), one.look()] == [False, True]


def test_a_folder_that_is_away_for_a_moment_is_waited_for(folder: Path) -> None:
    one = watch(folder)
    one.look()
    folder.rename(folder.with_name("aside"))
    assert fingerprint(folder) is None
    assert [one.look(), one.look()] == [False, False]
    folder.with_name("aside").rename(folder)
    raised(folder / "zhuozhou-2023.yaml")
    assert [one.look(), one.look()] == [False, True]


def test_the_thread_tells_the_service_once(folder: Path) -> None:
    told = threading.Semaphore(0)
    one = RulesWatch(folder, load_programmes(folder), told.release, seconds=0.02)
    one.start()
    assert not told.acquire(timeout=0.2)
    raised(folder / "zhuozhou-2023.yaml")
    assert told.acquire(timeout=5)
    one.join(5)
    assert not one.is_alive() and one.changed and not told.acquire(blocking=False)


def test_restart_keeps_the_process_id_and_takes_the_module_anew(tmp_path: Path) -> None:
    (tmp_path / "again.py").write_text(
        "import os, pathlib\n"
        "from services.shared.rules_watch import restart\n"
        "note = pathlib.Path('note')\n"
        "print(os.getpid(), flush=True)\n"
        "if not note.exists():\n"
        "    note.touch()\n"
        "    restart('again')\n",
        "utf-8",
    )
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    done = subprocess.run([sys.executable, "-m", "again"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    first, second = done.stdout.split()
    assert first == second and not done.returncode, done.stderr
