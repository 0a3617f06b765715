"""ClickHouse on one machine, from the library that npm carries: a real server without Docker or root.

libchdb's `chdb_query_cmdline` runs clickhouse-local, and `SYSTEM START LISTEN` opens its real native and HTTP listeners. So this module
is both the description of the process (`process`) and, run as `-m deploy.local.clickhouse`, the process itself. Production uses an
ordinary ClickHouse server; nothing outside this file knows the difference.

Unlike a server, the library aborts where a client dies in the middle of an insert and its connection is reset while the server answers
(in about every third kill -9 of the loader): the exception leaves the connection's thread, which a server has an error handler for. The
supervisor starts it again within a second, and whoever was using it tries again.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import shutil
import signal
import socket
import sys
import threading
import time
from pathlib import Path

from deploy.local import processes
from deploy.local.supervisor import Process

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "node_modules" / "@chdb" / "lib-linux-x64-gnu" / "libchdb.so"
HOST = "127.0.0.1"
START = "SYSTEM START LISTEN TCP; SYSTEM START LISTEN HTTP;"
STOP = "SYSTEM STOP LISTEN TCP; SYSTEM STOP LISTEN HTTP; KILL QUERY WHERE query_id != queryID() ASYNC FORMAT Null;"

CONFIG = """<clickhouse>
  <users_config>{users}</users_config>
  <path>{data}/</path>
  <tmp_path>{data}/tmp/</tmp_path>
  <listen_host>127.0.0.1</listen_host>
  <timezone>UTC</timezone>
  <max_server_memory_usage>{memory}</max_server_memory_usage>
  <mark_cache_size>268435456</mark_cache_size>
  <ignore_empty_sql_security_in_create_view_query>false</ignore_empty_sql_security_in_create_view_query>
  <uncompressed_cache_size>0</uncompressed_cache_size>
  <background_pool_size>4</background_pool_size>
  <background_schedule_pool_size>8</background_schedule_pool_size>
</clickhouse>
"""

# Without a password by the server's own limits (it listens on loopback only). `analyst` sees the marts and nothing else; their views
# run with their maker's rights, which is what DEFINER makes the default for.
USERS = """<clickhouse>
  <profiles>
    <default>
      <max_threads>2</max_threads>
      <default_normal_view_sql_security>DEFINER</default_normal_view_sql_security>
    </default>
    <analyst>
      <readonly>2</readonly>
      <max_threads>2</max_threads>
      <max_memory_usage>1073741824</max_memory_usage>
      <max_execution_time>60</max_execution_time>
    </analyst>
  </profiles>
  <users>
    <default>
      <no_password/>
      <networks><ip>127.0.0.1</ip></networks>
      <profile>default</profile>
      <quota>default</quota>
      <access_management>0</access_management>
    </default>
    <analyst>
      <no_password/>
      <networks><ip>127.0.0.1</ip></networks>
      <profile>analyst</profile>
      <quota>default</quota>
      <default_database>marts</default_database>
      <grants>
        <query>GRANT SELECT ON marts.*</query>
      </grants>
    </analyst>
  </users>
  <quotas><default/></quotas>
</clickhouse>
"""


def process(folder: Path, port: int, http_port: int, memory_bytes: int = 4 << 30) -> Process:
    """The server as a process to supervise; its data lie in `folder`/clickhouse. Ready when it has said so (before that a client that
    opens the port can abort the library)."""
    home = folder / "clickhouse"
    config, users = folder / "run" / "clickhouse.xml", folder / "run" / "clickhouse-users.xml"

    def prepare() -> None:
        home.mkdir(parents=True, exist_ok=True)
        config.write_text(CONFIG.format(users=users, data=home, memory=memory_bytes))
        users.write_text(USERS)
        shutil.rmtree(home / "data" / "system", ignore_errors=True)  # old query logs keep the library from making new ones

    arguments = ["--data", str(home), "--config", str(config), "--port", str(port), "--http-port", str(http_port)]
    return Process(
        "clickhouse",
        [sys.executable, "-m", "deploy.local.clickhouse", *arguments],
        env={"PYTHONPATH": str(ROOT)},
        ready=processes.logged("READY "),
        before=prepare,
        cwd=folder,
        stop_seconds=25.0,
    )


class Server:
    """clickhouse-local inside this process, driven through two pipes that it takes for files of queries."""

    def __init__(self, library: Path, data: Path, config: Path, port: int, http_port: int) -> None:
        self.http_port = http_port
        self.error = ""
        start, writer = os.pipe()
        os.write(writer, START.encode())
        os.close(writer)
        # Reading the second "file" blocks the library until `stop` writes it and closes it.
        hold, self._hold = os.pipe()
        self._argv = [
            *("clickhouse", f"--config-file={config}", f"--path={data}"),
            *(f"--listen_host={HOST}", f"--tcp_port={port}", f"--http_port={http_port}", "--poll_interval=1", "--log-level=warning"),
            *("--queries-file", f"/dev/fd/{start}", f"/dev/fd/{hold}"),
        ]
        self._library = library
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            library = ctypes.CDLL(str(self._library))
            run, error_of = library.chdb_query_cmdline, library.chdb_result_error
            run.restype, run.argtypes = ctypes.c_void_p, [ctypes.c_int, ctypes.POINTER(ctypes.c_char_p)]
            error_of.restype, error_of.argtypes = ctypes.c_char_p, [ctypes.c_void_p]
            result = run(len(self._argv), (ctypes.c_char_p * len(self._argv))(*[word.encode() for word in self._argv]))
            self.error = (error_of(result) or b"").decode(errors="replace") if result else "no result"
        except OSError as error:
            self.error = str(error)

    def listening(self) -> bool:
        try:
            socket.create_connection((HOST, self.http_port), 0.2).close()
        except OSError:
            return False
        return True

    def stop(self, seconds: float = 15.0) -> bool:
        """Ask it to end; whether it has. With connections left after 5 s the library ends the whole process itself."""
        os.write(self._hold, STOP.encode())
        os.close(self._hold)
        self.thread.join(seconds)
        return not self.thread.is_alive()


def main() -> None:
    """Serve until SIGTERM or SIGINT. Prints READY once the listeners are open."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--http-port", type=int, required=True)
    options = parser.parse_args()
    stop_signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, stop_signals)  # every thread of the server inherits this
    begun = time.monotonic()
    server = Server(LIBRARY, options.data, options.config, options.port, options.http_port)
    server.thread.start()
    ready = False
    while server.thread.is_alive():
        if not ready and server.listening():
            ready = True
            seconds = time.monotonic() - begun
            print(f"READY pid={os.getpid()} port={options.port} http={options.http_port} after {seconds:.2f} s", flush=True)
        if signal.sigtimedwait(stop_signals, 1.0 if ready else 0.05):
            os._exit(0 if server.stop() else 1)
    sys.exit(f"clickhouse ended by itself: {server.error or 'its message is above'}")


if __name__ == "__main__":
    main()
