"""What `chalk replay` keeps, and how rule files are changed and come back."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from schemas.programme import RuleError, digest, load_programmes
from services.scoring.replay_commands import app
from services.scoring.replay_compare import Claim, behind
from services.scoring.replay_files import Programmes, Refused, Shadow, generations, proposed, same
from services.scoring.replay_workers import read_metrics
from services.shared.settings import ROOT, settings

SHIPPED = ROOT / "schemas" / "programmes"
PLAN_B = (SHIPPED / "zhuozhou-2023.yaml").read_text("utf-8")
LOWER = PLAN_B.replace("at_least: 32", "at_least: 30")


@pytest.fixture
def running(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SHIPPED, tmp_path / "programmes"))


def texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text("utf-8") for path in folder.iterdir()}


def test_one_file_takes_the_place_of_its_programme_s(running: Path, tmp_path: Path) -> None:
    new = tmp_path / "try.yaml"
    new.write_text(LOWER, "utf-8")
    files = proposed(new, running)
    assert files == {name: text.encode() for name, text in texts(running).items()} | {"zhuozhou-2023.yaml": LOWER.encode()}
    other = tmp_path / "guopei-shaanxi-2023.yaml"
    other.write_text(PLAN_B.replace("id: zhuozhou-2023", "id: zhuozhou-2024"), "utf-8")
    with pytest.raises(Refused, match="give the file another name"):
        proposed(other, running)
    (tmp_path / "none").mkdir()
    for rules, text in ((tmp_path / "none", "has no rule file"), (tmp_path / "nowhere", "neither a rule file nor")):
        with pytest.raises(Refused, match=text):
            proposed(rules, running)


def test_a_generation_keeps_the_rules_it_was_made_by(running: Path, tmp_path: Path) -> None:
    shadow = Shadow(tmp_path / "data", "try")
    with pytest.raises(Refused, match="there is no generation try"):
        shadow.programmes()
    kept = shadow.keep(proposed(running, running))
    assert digest(kept) == digest(load_programmes(running)) == digest(shadow.programmes())
    commented = {name: b"# again\n" + text.encode() for name, text in texts(running).items()}
    assert digest(shadow.keep(commented)) == digest(kept)  # the same rules
    with pytest.raises(Refused, match="made by other rules"):
        shadow.keep({"zhuozhou-2023.yaml": LOWER.encode()})
    with pytest.raises(RuleError):
        shadow.keep({"zhuozhou-2023.yaml": b"id: ["})
    assert generations(tmp_path / "data") == ["try"] and sorted(path.name for path in shadow.folder.iterdir()) == ["rules"]
    with pytest.raises(Refused, match="needs a name"):
        Shadow(tmp_path / "data", "")


def test_one_command_at_a_time_works_on_a_generation(running: Path, tmp_path: Path) -> None:
    shadow, twin = Shadow(tmp_path, "try"), Shadow(tmp_path, "try")
    assert not twin.busy
    with shadow.held():
        with pytest.raises(Refused, match="another `chalk replay`"), twin.held():
            pass
        assert twin.busy
    assert not shadow.folder.exists()  # nothing came of it
    with shadow.held():
        shadow.keep(proposed(running, running))
    assert not twin.busy and shadow.exists


def test_rule_files_go_and_come_back_to_the_byte(running: Path, tmp_path: Path) -> None:
    programmes, first = Programmes(running, tmp_path / "data"), texts(running)
    lower, third = tmp_path / "lower", tmp_path / "third"
    shutil.copytree(SHIPPED, lower)
    (lower / "zhuozhou-2023.yaml").write_text(LOWER, "utf-8")
    third.mkdir()
    (third / "only.yml").write_text(LOWER, "utf-8")
    (running / "README.md").write_text("no rule file", "utf-8")

    programmes.put(lower)
    assert texts(running) == texts(lower) | {"README.md": "no rule file"}
    programmes.put(third)
    assert texts(running) == texts(third) | {"README.md": "no rule file"}  # a programme that the new set lacks is gone
    undone = programmes.put_back()
    assert texts(running) == texts(lower) | {"README.md": "no rule file"} and texts(undone) == texts(third)
    programmes.put_back()
    assert texts(running) == first | {"README.md": "no rule file"}
    with pytest.raises(Refused, match="nothing was switched from here"):
        programmes.put_back()
    assert same(running, SHIPPED) and not same(running, lower)


def test_a_set_that_is_refused_moves_nothing(running: Path, tmp_path: Path) -> None:
    programmes, before = Programmes(running, tmp_path / "data"), texts(running)
    bad = Path(shutil.copytree(SHIPPED, tmp_path / "bad"))
    (bad / "zhuozhou-2023.yaml").write_text("id: [", "utf-8")
    with pytest.raises(RuleError):
        programmes.put(bad)
    assert texts(running) == before and programmes.former() is None


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--rules", "{broken}", "--into", "try"], "broken/zhuozhou-2023.yaml:"),
        (["--rules", "{nowhere}", "--into", "try"], "neither a rule file nor a folder"),
        (["--rules", "{running}", "--into", "No_Name"], "expected 1 to 40 of a-z"),
        (["--rules", "{running}"], "--into NAME"),
        (["--into", "try"], "there is no generation try"),
        (["--rules", "{lower}", "--into", "kept"], "made by other rules"),
        (["switch", "try"], "there is no generation try"),
        (["back"], "nothing was switched from here"),
    ],
)
def test_commands_refuse_before_anything_is_asked_or_made(
    running: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], text: str
) -> None:
    """There is no broker and no database here, and nobody waits for one."""
    data = tmp_path / "data"
    monkeypatch.setenv("CHALK_DATA", str(data))
    monkeypatch.setenv("CHALK_PROGRAMMES", str(running))
    monkeypatch.setenv("CHALK_KAFKA_PORT", "1")
    monkeypatch.setenv("CHALK_CLICKHOUSE_PORT", "1")
    settings.cache_clear()
    for name, rules in (("lower", LOWER), ("broken", "id: [")):
        folder = Path(shutil.copytree(SHIPPED, tmp_path / name))
        (folder / "zhuozhou-2023.yaml").write_text(rules, "utf-8")
    Shadow(data, "kept").keep(proposed(running, running))
    places = {"running": running, "lower": tmp_path / "lower", "broken": tmp_path / "broken", "nowhere": tmp_path / "nowhere"}
    try:
        done = CliRunner().invoke(app, [word.format(**places) for word in arguments])
    finally:
        settings.cache_clear()
    assert (done.exit_code, text in done.output) == (2, True), done.output
    assert sorted(path.name for path in (data / "replay").iterdir() if path.name != ".lock") == ["kept"]
    assert texts(running) == texts(SHIPPED)


def test_how_far_is_far_enough() -> None:
    target = {0: Claim(10, 500, 0), 1: Claim(0, 1, 0)}
    assert behind({}, target) == target
    assert behind({0: Claim(10, 500, 3), 1: Claim(0, 7, 3)}, target) == {}
    assert behind({0: Claim(9, 900, 3), 1: Claim(0, 0, 3)}, target) == target
    assert behind({0: Claim(11, 499, 3), 1: Claim(5, 1, 3), 2: Claim(0, 0, 0)}, target) == {0: target[0]}


def test_a_worker_s_gauges_are_read() -> None:
    said = read_metrics(
        "# TYPE chalk_scoring_rebuild_applied gauge\n"
        'chalk_scoring_rebuild_applied{partition="0"} 120.0\n'
        'chalk_scoring_rebuild_applied{partition="1"} 5.0\n'
        "# TYPE chalk_scoring_applied_offset gauge\n"
        'chalk_scoring_applied_offset{partition="1"} 40.0\n'
        "# TYPE chalk_scoring_rebuild_end gauge\n"
        'chalk_scoring_rebuild_end{partition="0"} 300.0\n'
        "# TYPE chalk_scoring_recovery_read gauge\n"
        'chalk_scoring_recovery_read{partition="0"} 7.0\n'
        "# TYPE chalk_scoring_recovery_end gauge\n"
        'chalk_scoring_recovery_end{partition="0"} 9.0\n'
    )
    assert (said.applied, said.end, said.recovered, said.recovering) == ({0: 120, 1: 40}, {0: 300}, 7, 9)
