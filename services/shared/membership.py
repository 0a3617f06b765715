"""The folder of a worker that lives, and its place in the consumer group, which a worker that was killed would hold for a session yet.

Until the broker misses a dead member's heartbeats (6 s at least, by its own default) its partitions are nobody's. Whoever is started
after it in the same folder knows that it is dead, since the folder's lock is free, and takes it out of the group at once.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import structlog
from kafka.admin import MemberToRemove
from kafka.errors import KafkaError

from services.shared.kafka import make_admin

_log = structlog.get_logger()


def worker_folder(folder: Path) -> tuple[Path, int]:
    """A folder for this process alone: the first `worker-N` that no living process holds. Returns it and the lock, to be kept open.

    Workers of one machine share `CHALK_DATA`; one that sleeps still holds its own files, so the next needs others.
    """
    number = 0
    while True:
        mine = folder / f"worker-{number}"
        mine.mkdir(parents=True, exist_ok=True)
        lock = os.open(mine / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return mine, lock
        except BlockingIOError:
            os.close(lock)
            number += 1


class Membership:
    """What a folder's process is in a consumer group. Hints alone: where one is lost or wrong, the broker finds out by itself, later."""

    def __init__(self, folder: Path, bootstrap: str, group: str) -> None:
        self._path, self._bootstrap, self._group = folder / f"member-of-{group}", bootstrap, group

    def end_former(self) -> None:
        """Take the folder's last process out of the group, where it was killed. Blocks."""
        try:
            member = self._path.read_text("utf-8").strip()
            self._path.unlink()
        except (OSError, UnicodeDecodeError):
            return
        if not member:
            return
        try:
            admin = make_admin(self._bootstrap, "chalk-members")
            try:
                answers = admin.remove_group_members(self._group, [MemberToRemove(member_id=member)])
            finally:
                admin.close()
        except KafkaError as error:
            _log.warning("the group is not told of the worker that died here; it will notice", group=self._group, error=repr(error))
        else:
            _log.info("a worker died here, the group is told", group=self._group, answers=[kind.__name__ for kind in answers.values()])

    def note(self, member_id: str) -> None:
        """Keep what the broker calls this process."""
        try:
            self._path.write_text(member_id, "utf-8")
        except OSError as error:  # a full disk, say: no reason not to work
            _log.warning("the membership is not noted", path=str(self._path), error=str(error))

    def forget(self) -> None:
        """It has left the group by itself."""
        self._path.unlink(missing_ok=True)
