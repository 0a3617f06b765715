"""New rule files are noticed by the services themselves: they end gracefully and start again with them.

    watch = RulesWatch(conf.programmes, programmes, stop)   # `stop` is called once, in the watch's own thread
    watch.start()
    ...                                                     # the service works until it is told to stop
    if watch.changed:
        restart("services.scoring")                         # never returns

A service never goes on with rules half its objects know: a new process is the plainest way to change all of them at once.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

import structlog

from schemas.programme import Programme, RuleError, digest, load_programmes

SECONDS = 2.0
_log = structlog.get_logger()


class RulesWatch(threading.Thread):
    """Looks at a folder of rule files every `seconds`; `changed` once they say something else than `programmes`.

    Files count once they were the same at two looks in a row, so that a set of which one file was put is not taken for the whole. A set
    that is refused is logged once, and the service goes on with what it has.
    """

    def __init__(self, folder: Path, programmes: Mapping[str, Programme], stop: Callable[[], object], seconds: float = SECONDS) -> None:
        super().__init__(name="rules-watch", daemon=True)
        self._folder, self._loaded, self._stop_service, self._seconds = folder, digest(programmes), stop, seconds
        self._last: str | None = None
        self._judged: str | None = None
        self.changed = False

    def run(self) -> None:
        tick = threading.Event()
        while not tick.wait(self._seconds):
            if self.look():
                _log.info("rule files changed, starting again", folder=str(self._folder))
                self._stop_service()
                return

    def look(self) -> bool:
        """One look. True where the files, sound and at rest, say something else than what is loaded."""
        seen = fingerprint(self._folder)
        at_rest, self._last = seen == self._last, seen
        if seen is None or not at_rest or seen == self._judged:
            return False
        self._judged = seen
        try:
            programmes = load_programmes(self._folder)
        except (RuleError, OSError) as error:
            text = error.everything if isinstance(error, RuleError) else str(error)
            _log.error("new rule files are refused, going on with the former ones", reason=text)
            return False
        if not programmes:
            _log.error("no rule file is left, going on with the former ones", folder=str(self._folder))
            return False
        self.changed = digest(programmes) != self._loaded
        return self.changed


def fingerprint(folder: Path) -> str | None:
    """Of the names and bytes of a folder's rule files; None where they can't be read (they may be just changing)."""
    found = hashlib.sha256()
    try:
        for path in sorted(one for one in folder.iterdir() if one.suffix in (".yaml", ".yml")):
            text = path.read_bytes()
            found.update(f"{path.name}\n{len(text)}\n".encode())
            found.update(text)
    except OSError:
        return None
    return found.hexdigest()


def restart(module: str) -> NoReturn:
    """Become `python -m MODULE` anew, under the same process id: whoever supervises it sees no death. After the graceful stop only."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-m", module])
