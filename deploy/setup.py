"""`make setup`: everything that a fresh clone needs, in seconds when nothing changed. Standard library only; any Python 3.8 can start it.

What is downloaded is kept in `${XDG_CACHE_HOME:-~/.cache}/chalkstream`, one folder for each content of a lock file, made aside and
moved into place, so that clones share it and two set-ups at once do not disturb each other. The clone itself gets only `.venv` (the
interpreter, a path file and small scripts) and links: `node_modules`, `deploy/local/jars` and what is compiled of `schemas` and `services`.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "chalkstream"
PYTHON_LOCK = ROOT / "requirements-dev.lock"
PEERS_LOCK = ROOT / "requirements-peers.lock"
NODE_LOCK = ROOT / "package-lock.json"
POM = ROOT / "deploy" / "local" / "pom.xml"
COMPILER = ROOT / "deploy" / "reader.py"
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
UV = "uv>=0.5"
SCRIPTS = {
    "chalk": "services.cli",
    "pytest": "pytest",
    "mypy": "mypy",
    "lint-imports": "importlinter.cli:lint_imports_command",
    "uvicorn": "uvicorn",
    "faust": "faust",
    "playwright": "playwright",
}
"""Script in .venv/bin -> the module that it runs, or module:function."""


class Missing(Exception):
    """Programs that set-up cannot do without, each with the command that installs it."""


# -- prerequisites


def find_python() -> str:
    """A Python >= 3.11 with venv: this one, or the first that is found."""
    names = [sys.executable, *(f"python3.{minor}" for minor in (11, 12, 13, 14)), "python3"]
    for name in names:
        found = shutil.which(name)
        if found and not _output(found, "-c", "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))")[0]:
            # The interpreter behind a shim or an active venv, so that .venv does not hang on either.
            code, base = _output(found, "-c", "import sys; print(sys._base_executable)")
            return base.strip() if not code and base.strip() else found
    raise Missing("Python >= 3.11 with venv: apt-get install -y python3 python3-venv")


def check_programs() -> None:
    """Raise Missing with all that is missing at once."""
    missing = []
    java = shutil.which("java")
    if not java:
        missing.append("Java >= 17: apt-get install -y openjdk-17-jre-headless")
    else:
        shown = re.search(r"java.specification.version = (\S+)", _output(java, "-XshowSettings:properties", "-version")[1])
        version = shown[1] if shown else "unknown"
        if not version.isdigit() or int(version) < 17:
            missing.append(f"Java >= 17 (found {version}): apt-get install -y openjdk-17-jre-headless")
    if not shutil.which("mvn"):
        missing.append("Maven: apt-get install -y maven")
    if not shutil.which("node") or not shutil.which("npm"):
        missing.append("Node.js with npm: apt-get install -y nodejs npm")
    if platform.system() != "Linux" or platform.machine() not in ("x86_64", "AMD64"):
        found = f"{platform.system()} on {platform.machine()}"
        missing.append(f"Linux on x86-64 (found {found}): the local ClickHouse is built for nothing else")
    if missing:
        raise Missing("\n".join(missing))


def _output(*argv: str) -> tuple[int, str]:
    """Exit status and what was written to either stream."""
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        return 127, str(error)
    return done.returncode, done.stdout


# -- the cache


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Only one set-up at a time beyond this point; a set-up that is killed lets go by itself."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say(f"another set-up holds {path}; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def key(*parts: str | bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:16]


def cached(name: str, make: Callable[[Path], None]) -> Path:
    """The cache's folder of that name; `make(folder)` fills it where it is not there yet."""
    folder = CACHE / name
    if folder.exists():
        return folder
    with locked(CACHE / f"{name}.lock"):
        if folder.exists():
            return folder
        new = CACHE / f"{name}.new"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        begun = time.monotonic()
        say(f"fetching {name} …")
        make(new)
        new.rename(folder)
        say(f"fetched {name} in {time.monotonic() - begun:.0f} s")
    return folder


def run(*argv: object, cwd: Path | None = None) -> None:
    """Run a program, quiet where it succeeds; raises RuntimeError with its last lines where it fails."""
    words = [str(word) for word in argv]
    done = subprocess.run(words, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)[:300]}\nended with status {done.returncode}:\n{done.stdout[-3000:]}")


def fetch_python(python: str, lock: Path, folder: Path) -> None:
    """The locked packages, into `folder`/site; every file's hash is checked against the lock."""
    site = folder / "site"
    bootstrap = folder / "bootstrap"
    run(python, "-m", "venv", bootstrap)
    pip = [bootstrap / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "-q", "install"]
    try:
        run(*pip, UV)
        uv = bootstrap / "bin" / "uv"
        run(uv, "pip", "install", "-q", "--python", python, "--target", site, "--require-hashes", "--link-mode", "copy", "-r", lock)
    except RuntimeError as error:
        say(f"uv did not manage ({str(error).splitlines()[-1][:200]}); trying pip, which is slower")
        shutil.rmtree(site, ignore_errors=True)
        run(*pip, "--require-hashes", "--no-deps", "--target", site, "-r", lock)
    shutil.rmtree(bootstrap)
    run(python, "-m", "compileall", "-q", "-j", "0", site)


def peers() -> tuple[str, Path]:
    """(interpreter, folder of packages) of what only benchmarks compare with; fetched when they first ask for it, nothing of `.venv`."""
    python = find_python()
    name = f"peers-{key(PEERS_LOCK.read_bytes(), _output(python, '-c', 'import sys; print(sys.version, sys.platform)')[1])}"
    return python, cached(name, lambda folder: fetch_python(python, PEERS_LOCK, folder)) / "site"


def fetch_uv(python: str, folder: Path) -> None:
    run(python, "-m", "venv", folder)
    run(folder / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "-q", "install", UV)


def lock_requirements(python: str) -> None:
    """Write the lock files from their `.in` files: newest versions that fit Python 3.11, all hashes, no index's address."""
    uv = CACHE / "uv" / "bin" / "uv"
    if not uv.exists():
        shutil.rmtree(CACHE / "uv", ignore_errors=True)
        fetch_uv(python, CACHE / "uv")
    for name in ("requirements", "requirements-build", "requirements-dev", "requirements-peers"):
        options = ["--generate-hashes", "--no-header", "--no-emit-index-url", "--no-emit-find-links", "--python-version", "3.11"]
        run(uv, "pip", "compile", "-q", "--upgrade", *options, "--python", python, "-o", f"{name}.lock", f"{name}.in", cwd=ROOT)
    options = ["--package-lock-only", "--ignore-scripts", "--omit-lockfile-registry-resolved", "--no-audit", "--no-fund"]
    run("npm", "install", *options, cwd=ROOT)


def fetch_jars(folder: Path) -> None:
    run("mvn", "-q", "-B", "-f", POM, COPY, f"-DoutputDirectory={folder}", "-DincludeScope=runtime")
    if not list(folder.glob("kafka_2.13-*.jar")):
        raise RuntimeError(f"Maven ended well but brought no broker into {folder}")


def fetch_node(folder: Path) -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copy(ROOT / name, folder / name)
    run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", cwd=folder)


def compiled_reader(python: str, version: str, lock: bytes) -> Path | None:
    """The folder of the extensions, compiled once for each content of their sources; None, with a word about it, where that cannot be done
    here."""
    paths = [path for folder in ("schemas", "services") for path in sorted((ROOT / folder).rglob("*.p[xy][dx]"))]
    sources = [part for path in paths for part in (str(path.relative_to(ROOT)), path.read_bytes())]
    name = f"reader-{key(*sources, COMPILER.read_bytes(), version, lock)}"

    def make(folder: Path) -> None:
        run(ROOT / ".venv" / "bin" / "python", COMPILER, ROOT, folder)

    try:
        if not (CACHE / name).exists():
            status, said = _output(python, str(COMPILER), "missing")
            packages = next((line.split()[1:] for line in said.splitlines() if line.startswith("missing:")), [])
            if status or packages:
                install(packages or ["gcc", "libc6-dev"], "to compile the quick reader of records")
        return cached(name, make)
    except (Missing, RuntimeError) as error:
        say(f"the quick reader is not compiled: all works, but records are read several times slower. {error}")
        return None


def link_reader(folder: Path | None) -> None:
    made = {path.relative_to(folder): path for path in folder.rglob("*.so")} if folder else {}
    for part in ("schemas", "services"):
        for old in (ROOT / part).rglob("*.so"):
            if old.relative_to(ROOT) not in made:
                old.unlink()  # of another source or interpreter
    for place, extension in made.items():
        link(ROOT / place, extension)


# -- the clone


def link(path: Path, target: Path) -> None:
    """Make `path` a link to `target`, in one step."""
    if path.is_symlink() and os.readlink(path) == str(target):
        return
    if path.is_dir() and not path.is_symlink():
        raise RuntimeError(f"{path} is a folder of its own; expected none or a link made by set-up. Move it away")
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    new.symlink_to(target)
    os.replace(new, path)


def make_venv(python: str, site: Path) -> None:
    """`.venv`: the interpreter without packages of its own, a path file to the cached ones and to the clone, and small scripts."""
    stamp = key(python, str(site), str(ROOT), repr(sorted(SCRIPTS.items())), Path(__file__).read_bytes())
    venv = ROOT / ".venv"
    mark = venv / "chalk-setup.stamp"
    if mark.exists() and mark.read_text() == stamp and (venv / "bin" / "python").exists():
        return
    new = ROOT / f".venv.{os.getpid()}.new"
    shutil.rmtree(new, ignore_errors=True)
    run(python, "-m", "venv", "--without-pip", new)
    library = next((new / "lib").glob("python3*")) / "site-packages"
    (library / "chalkstream.pth").write_text(f"{ROOT}\n{site}\n")
    binaries = venv / "bin"
    (new / "bin" / "ruff").symlink_to(site / "bin" / "ruff")  # a program of its own; `python -m ruff` would look for it right here
    for name, what in SCRIPTS.items():
        module, _, function = what.partition(":")
        code = f"import sys; sys.argv[0] = '{name}'; from {module} import {function} as main; sys.exit(main())"
        how = f'-c "{code}"' if function else f"-m {module}"
        script = new / "bin" / name
        script.write_text(f'#!/bin/sh\nexec "{binaries}/python" {how} "$@"\n')
        script.chmod(0o755)
    (new / "chalk-setup.stamp").write_text(stamp)
    old = ROOT / f".venv.{os.getpid()}.old"
    if venv.exists() or venv.is_symlink():
        venv.rename(old)
    new.rename(venv)
    shutil.rmtree(old, ignore_errors=True)


def install_browser() -> None:
    """Chromium and a font with Chinese for the browser tests."""
    packages = []
    if not shutil.which("chromium"):
        packages.append("chromium")
    if not list(Path("/usr/share/fonts").rglob("NotoSansCJK*")):
        packages.append("fonts-noto-cjk")
    if packages:
        install(packages, "for the browser tests")


def install(packages: list[str], what: str) -> None:
    """Where it may: on Debian, as root. Raises Missing elsewhere."""
    command = f"apt-get install -y --no-install-recommends {' '.join(packages)}"
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Missing(f"{what}: {command}")
    say(f"installing {' and '.join(packages)} …")
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    with locked(CACHE / "apt.lock"):
        run("apt-get", "-o", "DPkg::Lock::Timeout=300", "update", "-q")
        run(*command.split(), "-o", "DPkg::Lock::Timeout=300", "-q")


def say(text: str) -> None:
    print(f"setup: {text}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Set up this clone; safe to run again at any time.")
    parser.add_argument("--browser", action="store_true", help="Chromium and fonts for the browser tests too")
    parser.add_argument("--lock", action="store_true", help="only lock the requirements anew")
    options = parser.parse_args()
    begun = time.monotonic()
    try:
        with locked(ROOT / ".venv.lock"):
            python = find_python()
            check_programs()
            if options.lock:
                return lock_requirements(python)
            version = _output(python, "-c", "import sys; print(sys.version, sys.platform)")[1]
            lock = PYTHON_LOCK.read_bytes()
            site = cached(f"python-{key(lock, version)}", lambda folder: fetch_python(python, PYTHON_LOCK, folder)) / "site"
            jars = cached(f"jars-{key(POM.read_bytes())}", fetch_jars)
            node = cached(f"node-{key(NODE_LOCK.read_bytes())}", fetch_node)
            make_venv(python, site)
            link(ROOT / "deploy" / "local" / "jars", jars)
            link(ROOT / "node_modules", node / "node_modules")
            link_reader(compiled_reader(python, version, lock))
            if options.browser:
                install_browser()
    except Missing as error:
        sys.exit(f"setup: missing:\n{error}")
    except (RuntimeError, OSError) as error:
        sys.exit(f"setup: {error}")
    say(f"ready ({time.monotonic() - begun:.1f} s)")


if __name__ == "__main__":
    main()
