"""A small disk for what scoring keeps, to be filled up: a tmpfs, where this process may mount one."""

from __future__ import annotations

import errno
import subprocess
from contextlib import suppress
from pathlib import Path

SIZE = "96m"
PIECE = b"\0" * (1 << 18)


class Disk:
    """A file system of its own on `folder`. `why_not`: why it could not be mounted; then it is an ordinary folder that never fills up."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.why_not = ""
        self.fills = 0

    def mount(self) -> None:
        self.folder.mkdir(parents=True)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(self.folder)], capture_output=True, text=True)
        self.why_not = done.stderr.strip() if done.returncode else ""

    def unmount(self) -> None:
        if self.folder.exists() and not self.why_not:
            subprocess.run(["umount", "-l", str(self.folder)], check=False)

    def fill(self) -> bool:
        """Until not a byte is left. False where it was not mounted."""
        if self.why_not:
            return False
        with (self.folder / "filler").open("wb", buffering=0) as filler:
            piece = PIECE
            while piece:
                try:
                    filler.write(piece)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    piece = piece[: len(piece) // 2]
        self.fills += 1
        return True

    def free(self) -> None:
        with suppress(FileNotFoundError):
            (self.folder / "filler").unlink()
