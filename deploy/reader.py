"""`python deploy/reader.py ROOT FOLDER [SOURCE ...]`: compile the `.pyx` of `schemas` and `services`, or some of them, to extension
modules, each of which goes beside its source.

By an interpreter that has Cython; the extensions are for that same interpreter. Set-up, the image and `make mutants` use it. Standard
library and Cython only.
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


def compile_source(root: Path, source: str, folder: Path) -> Path:
    """The extension's path, below `folder` as the source's is below `root`. Raises CalledProcessError; the compiler speaks on stderr."""
    target = (folder / source).with_name(Path(source).stem + SUFFIX)
    with tempfile.TemporaryDirectory() as between:
        code, made = Path(between) / "code.c", Path(between) / "made.so"
        name = source.removesuffix(".pyx").replace("/", ".")
        subprocess.run([sys.executable, "-m", "cython", "-3", "--module-name", name, source, "-o", code], check=True, cwd=root)
        subprocess.run(_cc(code, made), check=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(made, target.with_name(target.name + ".new"))
        target.with_name(target.name + ".new").rename(target)  # whoever has the old one open keeps it
    return target


if __name__ == "__main__":
    if sys.argv[1:] == ["missing"]:
        print("missing:", *missing())
    else:
        root, folder = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
        every = [str(path.relative_to(root)) for part in ("schemas", "services") for path in (root / part).rglob("*.pyx")]
        for one in sys.argv[3:] or every:
            compile_source(root, one, folder)
