"""RabbitMQ as Debian packages it: one node, with a directory, ports and an epmd of its own, all on loopback.

The management plugin is on, as where RabbitMQ is used; everything else is what the package's defaults are. It
confirms a persistent message when that is written and synced, several messages with one sync.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Self

import psutil

from bench.broker import STOP_TIMEOUT_S, BenchError, free_port, kill

PROGRAM = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""The package's own script: what lies on the PATH runs it as another user and on the system's directories."""
PACKAGES = Path("/usr/lib/rabbitmq/lib")
START_TIMEOUT_S = 240
"""Recovering three million messages takes it a good while."""
SETTINGS = """\
management.tcp.ip = 127.0.0.1
management.tcp.port = {management_port}
disk_free_limit.absolute = 100MB
"""


class RabbitMQ:
    """Started by `with` or `start`, gone when the block ends, however it ends."""

    address = ""
    """Where Portask's own protocol is spoken: nowhere."""

    def __init__(self, directory: Path) -> None:
        """Find the package. Raises BenchError when it is not installed."""
        self.directory = directory
        self.port, self.pid = free_port(), 0
        self.version = find_version()
        self._epmd_port, self._distribution_port, self._management_port = free_port(), free_port(), free_port()
        self._processes: list[subprocess.Popen[Any]] = []
        self._out = directory.with_name(f"{directory.name}.out")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def amqp_address(self) -> str:
        """Where it speaks AMQP 0-9-1."""
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> list[str]:
        """The last lines that it printed."""
        return self._out.read_text(errors="replace").splitlines()[-50:] if self._out.exists() else []

    def start(self) -> None:
        """Return when it accepts connections. Raises BenchError."""
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "plugins").write_text("[rabbitmq_management].\n")
        (self.directory / "rabbitmq.conf").write_text(SETTINGS.format(management_port=self._management_port))
        (self.directory / "environment").write_text("")
        environ = self._environ()
        try:
            with self._out.open("ab") as out:
                for command in (
                    ["epmd", "-port", str(self._epmd_port), "-address", "127.0.0.1"],
                    [str(PROGRAM)],
                ):
                    # Sessions of their own: Ctrl-C is meant for the benchmark, which then stops the broker.
                    process = subprocess.Popen(
                        command, cwd=self.directory, env=environ, stdout=out, stderr=out, start_new_session=True
                    )
                    self._processes.insert(0, process)
            self.pid = self._processes[0].pid
            self._wait_for_port()
        except OSError as error:
            self.kill()
            raise BenchError(f"RabbitMQ could not be started: {error}") from None
        except BaseException:
            self.kill()
            raise

    def _environ(self) -> dict[str, str]:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("RABBITMQ_")}
        here = {
            "NODENAME": "portask-bench@localhost",
            "NODE_IP_ADDRESS": "127.0.0.1",
            "NODE_PORT": self.port,
            "DIST_PORT": self._distribution_port,
            "MNESIA_BASE": self.directory / "mnesia",
            "LOG_BASE": self.directory / "log",
            "PID_FILE": self.directory / "pid",
            "ENABLED_PLUGINS_FILE": self.directory / "plugins",
            "CONFIG_FILE": self.directory / "rabbitmq.conf",
            "CONF_ENV_FILE": self.directory / "environment",
        }
        environ |= {f"RABBITMQ_{name}": str(value) for name, value in here.items()}
        return environ | {"HOME": str(self.directory), "ERL_EPMD_PORT": str(self._epmd_port)}

    def _wait_for_port(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            if self._processes[0].poll() is not None:
                raise BenchError("RabbitMQ did not start:\n" + "\n".join(self.log))
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise BenchError(f"RabbitMQ was not ready after {START_TIMEOUT_S} s") from None
            time.sleep(0.02)

    def stop(self) -> float:
        """End it with SIGTERM; the seconds that it took. Raises BenchError when it failed."""
        began = time.perf_counter()
        script = self._processes[0]
        try:
            # The script would run rabbitmqctl, which asks the node to do what it does on the signal.
            for process in psutil.Process(script.pid).children(recursive=True):
                if process.name() == "beam.smp":
                    process.send_signal(signal.SIGTERM)
            script.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise BenchError(f"RabbitMQ did not stop within {STOP_TIMEOUT_S} s") from None
        finally:
            self.kill()
        return time.perf_counter() - began

    def kill(self) -> None:
        """End it with SIGKILL and wait until it is gone. A second call does nothing."""
        while self._processes:
            kill(self._processes.pop(0))


def find_version() -> str:
    """The version of the installed package. Raises BenchError when there is none."""
    found = [re.fullmatch(r"rabbitmq_server-([\d.]+)", path.name) for path in PACKAGES.glob("rabbitmq_server-*")]
    versions = [match[1] for match in found if match]
    if not PROGRAM.exists() or not versions or shutil.which("epmd") is None:
        raise BenchError("RabbitMQ is not installed; Debian's package is called rabbitmq-server")
    return max(versions)
