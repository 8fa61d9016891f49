"""A broker under measurement: `portask serve` as a process of its own on its own directory and ports."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Self

import psutil

ROOT = Path(__file__).resolve().parent.parent
READY = "portask ready"
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 30
QUIET_S = 1.0
"""Storage has finished its background work when its figures stay the same for so long."""
KEPT_LINES = 50


class BenchError(Exception):
    """A measurement that could not be made."""


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Broker:
    """Started by `with` or `start`, gone when the block ends, however it ends."""

    def __init__(self, directory: Path, *flags: str, prefix: tuple[str, ...] = ()) -> None:
        """*prefix* is a program that runs the broker, as strace does."""
        self.directory = directory
        self.flags = flags
        self.prefix = prefix
        self.port = free_port()
        self.log: deque[str] = deque(maxlen=KEPT_LINES)
        self.pid = 0
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def address(self) -> str:
        """Where it speaks its own protocol."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> float:
        """Start it; the seconds from exec to `portask ready`. Raises BenchError."""
        command = [
            *self.prefix,
            *(sys.executable, "-m", "portask", "serve", "--data-dir", str(self.directory), "--host", "127.0.0.1"),
            *("--native-port", str(self.port), "--http-port", str(free_port())),
            *("--kafka-port", "0", "--amqp-port", "0", *self.flags),
        ]
        environ = {name: value for name, value in os.environ.items() if not name.startswith("PORTASK_")}
        began = time.perf_counter()
        # A session of its own: Ctrl-C is meant for the benchmark, which then stops the broker.
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environ, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        ready: SimpleQueue[float | None] = SimpleQueue()
        threading.Thread(target=self._read_log, args=(self._process, ready), daemon=True).start()
        try:
            ready_at = ready.get(timeout=START_TIMEOUT_S)
            if ready_at is None:
                raise BenchError("the broker did not start:\n" + "\n".join(self.log))
            self.pid = self.info()["pid"] if self.prefix else self._process.pid
        except Empty:
            self.kill()
            raise BenchError(f"the broker was not ready after {START_TIMEOUT_S} s") from None
        except BaseException:
            self.kill()
            raise
        return ready_at - began

    def _read_log(self, process: subprocess.Popen[str], ready: SimpleQueue[float | None]) -> None:
        """Keep the last lines of the log; *ready* gets the moment of `portask ready`, and None at the end."""
        for line in process.stderr:
            if READY in line:
                ready.put(time.perf_counter())
            self.log.append(line.rstrip())
        ready.put(None)

    def stop(self) -> float:
        """End it with SIGTERM; the seconds that it took. Raises BenchError when it failed."""
        process, self._process = self._process, None
        began = time.perf_counter()
        try:
            os.kill(self.pid, signal.SIGTERM)
            code = process.wait(STOP_TIMEOUT_S)
        except BaseException:
            kill(process)
            raise
        if code:
            raise BenchError(f"the broker ended with {code}:\n" + "\n".join(self.log))
        return time.perf_counter() - began

    def kill(self) -> None:
        """End it with SIGKILL and wait until it is gone. A second call does nothing."""
        if self._process is not None:
            process, self._process = self._process, None
            kill(process)

    # -- looking at it ----------------------------------------------------------------------------

    def info(self) -> dict[str, Any]:
        """What INFO answers."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=STOP_TIMEOUT_S) as sock:
            sock.sendall(b"INFO\n")
            with sock.makefile("rb") as file:
                word, _, text = file.readline().partition(b" ")
        if word != b"OK":
            raise BenchError(f"INFO was answered {word!r} {text!r}")
        return json.loads(text)

    def cpu_s(self) -> float:
        """Seconds of CPU that all its threads have used."""
        times = psutil.Process(self.pid).cpu_times()
        return times.user + times.system

    def rss_bytes(self) -> int:
        """Its resident memory."""
        return psutil.Process(self.pid).memory_info().rss

    def wait_quiet(self, timeout_s: float = 60) -> dict[str, Any]:
        """Return INFO's storage figures when background work has come to rest, or when *timeout_s* is over."""
        deadline = time.monotonic() + timeout_s
        before = None
        while True:
            now = {**self.info()["storage"], "free_bytes": 0}
            if now == before or time.monotonic() > deadline:
                return now
            before = now
            time.sleep(QUIET_S)


def kill(process: subprocess.Popen[Any]) -> None:
    """End *process* and what it started, all of it in a session of its own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(STOP_TIMEOUT_S)
