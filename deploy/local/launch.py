"""Become another program that dies when its supervisor does: `launch.py SUPERVISOR_PID argv…`.

A script of its own, run by path with the bare interpreter, because setting the death signal between fork and exec in a process
with threads (which the supervisor is) can deadlock. The death signal survives the exec.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Arrange for SIGKILL on the parent's death, then exec. Exits 127 naming the program that could not be run."""
    parent, argv = int(sys.argv[1]), sys.argv[2:]
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the line above
        sys.exit("the supervisor is gone")
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        print(f"{argv[0]}: {error.strerror}", file=sys.stderr, flush=True)
        sys.exit(127)


if __name__ == "__main__":
    main()
