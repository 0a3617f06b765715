"""`python deploy/reader.py SOURCE FOLDER`: compile `schemas/quick_reader.pyx` into the extension module that goes beside it.

By an interpreter that has Cython; the extension is for that same interpreter. Set-up, the image and `make mutants` use it. Standard library
and Cython only.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")
HEADERS = f"python3.{sys.version_info.minor}-dev"


def missing() -> list[str]:
    """Debian's packages without which this interpreter can compile nothing; found by compiling something."""
    with tempfile.TemporaryDirectory() as between:
        code = Path(between) / "probe.c"
        for text, packages in (("#include <assert.h>\n", ["gcc", "libc6-dev"]), ("#include <Python.h>\n", [HEADERS])):
            code.write_text(text)
            if not shutil.which("cc") or subprocess.run(_cc(code, Path(between) / "probe.so"), capture_output=True).returncode:
                return packages if packages == [HEADERS] else [*packages, HEADERS]
    return []


def _cc(code: Path, target: Path) -> list[str | Path]:
    return ["cc", "-O2", "-fPIC", "-shared", "-fwrapv", f"-I{sysconfig.get_paths()['include']}", code, "-o", target]


def compile_reader(source: Path, folder: Path) -> Path:
    """The extension's path. Raises CalledProcessError with what the compiler said on stderr."""
    target = folder / f"{source.stem}{SUFFIX}"
    with tempfile.TemporaryDirectory() as between:
        code = Path(between) / f"{source.stem}.c"
        subprocess.run([sys.executable, "-m", "cython", "-3", source.resolve(), "-o", code], check=True, cwd=between)
        subprocess.run(_cc(code, Path(between) / target.name), check=True)
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(Path(between) / target.name, target.with_name(target.name + ".new"))
        target.with_name(target.name + ".new").rename(target)  # whoever has the old one open keeps it
    return target


if __name__ == "__main__":
    if sys.argv[1:] == ["missing"]:
        print("missing:", *missing())
    else:
        compile_reader(Path(sys.argv[1]), Path(sys.argv[2]))
