"""A folder is one living process's; what is noted there of its place in the group is a hint, and harms nothing where it is of no use."""

from __future__ import annotations

import os
from pathlib import Path

from deploy.local.processes import free_ports
from services.shared.membership import Membership, worker_folder


def test_each_worker_has_a_folder_of_its_own(tmp_path: Path) -> None:
    (one, lock), (two, other) = worker_folder(tmp_path), worker_folder(tmp_path)
    assert (one.name, two.name) == ("worker-0", "worker-1")
    os.close(lock)
    again, lock = worker_folder(tmp_path)
    assert again == one
    os.close(lock)
    os.close(other)


def test_a_hint_is_used_once_and_a_broker_that_is_away_is_no_reason_not_to_start(tmp_path: Path) -> None:
    [free_port] = free_ports(1)
    former = Membership(tmp_path, f"127.0.0.1:{free_port}", "g")
    former.note("faust-1-abc")
    Membership(tmp_path, f"127.0.0.1:{free_port}", "other").end_former()
    assert [path.name for path in tmp_path.iterdir()] == ["member-of-g"]
    Membership(tmp_path, f"127.0.0.1:{free_port}", "g").end_former()
    assert list(tmp_path.iterdir()) == []
    former.end_former()  # nobody died here


def test_garbage_is_no_hint(tmp_path: Path) -> None:
    for garbage in (b"\xff\xfe", b"", b"\n"):
        (tmp_path / "member-of-g").write_bytes(garbage)
        Membership(tmp_path, "127.0.0.1:1", "g").end_former()


def test_what_cannot_be_noted_is_not_and_who_left_is_forgotten(tmp_path: Path) -> None:
    Membership(tmp_path / "missing", "127.0.0.1:1", "g").note("faust-1-abc")
    member = Membership(tmp_path, "127.0.0.1:1", "g")
    member.note("faust-1-abc")
    member.forget()
    member.forget()
    assert list(tmp_path.iterdir()) == []
