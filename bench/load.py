"""The load generator: building the Go program in bench/load and running it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from bench.broker import BenchError, Broker
from bench.peers.apache_kafka import ApacheKafka
from bench.peers.rabbitmq import RabbitMQ

SOURCE = Path(__file__).resolve().parent / "load"
BUILD_TIMEOUT_S = 300
RUN_TIMEOUT_S = 300


class Load:
    """The program, built once for all measurements."""

    def __init__(self, directory: Path) -> None:
        """Build it into *directory*. Raises BenchError."""
        go = shutil.which("go")
        if go is None:
            raise BenchError("the load generator is a Go program: install Go 1.24 or newer and put `go` on the PATH")
        self.program = directory / "load"
        environ = os.environ | {"GOWORK": "off", "GOTOOLCHAIN": "local", "GOFLAGS": ""}
        built = subprocess.run(
            [go, "build", "-o", str(self.program), "."],
            cwd=SOURCE,
            env=environ,
            timeout=BUILD_TIMEOUT_S,
            capture_output=True,
            text=True,
            check=False,
        )
        if built.returncode:
            raise BenchError(f"go build failed in bench/load:\n{built.stderr}")
        version = subprocess.run([go, "version"], cwd=SOURCE, env=environ, capture_output=True, text=True, check=True)
        self.go_version = version.stdout.split()[2]

    def run(self, broker: Broker | ApacheKafka | RabbitMQ, action: str, **flags: Any) -> dict[str, Any]:
        """What *action* measured on *broker*, with the command that did it. Raises BenchError."""
        try:
            return self._run(_words(action, flags), "-address", broker.address, "-pid", str(broker.pid))
        except BenchError as error:
            raise BenchError(f"{error}; the broker's log:\n" + "\n".join(broker.log)) from None

    def probe(self, action: str, **flags: Any) -> dict[str, Any]:
        """What *action* found out about a broker that may not run yet. Raises BenchError."""
        return self._run(_words(action, flags), "-address", "")

    def _run(self, words: list[str], *unrecorded: str) -> dict[str, Any]:
        text = " ".join(words)
        command = [str(self.program), *words, *unrecorded]
        try:
            done = subprocess.run(command, timeout=RUN_TIMEOUT_S, capture_output=True, text=True, check=False)
        except subprocess.TimeoutExpired:
            raise BenchError(f"load {text}: not finished after {RUN_TIMEOUT_S} s") from None
        if done.returncode:
            raise BenchError(f"load {text}: {done.stderr.strip()}")
        return {"load": text, **json.loads(done.stdout)}


def _words(action: str, flags: dict[str, Any]) -> list[str]:
    """The command line; a flag that is True stands there without a value."""
    words = [action]
    for name, value in flags.items():
        words += [f"-{name}"] if value is True else [f"-{name}", str(value)]
    return words
