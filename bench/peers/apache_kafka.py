"""Apache Kafka as one node, broker and controller in one process, as its own quick start runs it.

Its jars are fetched with Maven once and kept in build/, which is not part of the repository. Every instance
has its own directory and its own ports on loopback.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Self

from bench.broker import ROOT, STOP_TIMEOUT_S, BenchError, free_port, kill

VERSION = "4.1.0"
POM = Path(__file__).resolve().parent / "apache_kafka.pom.xml"
JARS = ROOT / "build" / f"apache-kafka-{VERSION}"
FETCH_TIMEOUT_S = 600
FORMAT_TIMEOUT_S = 60
START_TIMEOUT_S = 180
"""Recovering a thousand partitions takes it 10 s, and four times as long on a busy machine."""
JAVA = 17
# What Kafka's own start script gives the machine; logging is at "warn", which spares it work.
OPTIONS = (
    *("-Xms1g", "-Xmx1g", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"),
    *("-XX:InitiatingHeapOccupancyPercent=35", "-XX:+ExplicitGCInvokesConcurrent", "-Djava.awt.headless=true"),
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
)
# One node cannot keep three copies, and Portask's groups do not wait for more members either.
PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={directory}
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
"""


class ApacheKafka:
    """Started by `with` or `start`, gone when the block ends, however it ends."""

    address = ""
    """Where Portask's own protocol is spoken: nowhere."""

    def __init__(self, directory: Path) -> None:
        """Find Java and the jars, and fetch them if they are not there. Raises BenchError."""
        self.directory = directory
        self.port, self.pid = free_port(), 0
        self.java = _find_java()
        self.jars = _find_jars()
        self._controller_port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._out = directory.with_name(f"{directory.name}.out")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def kafka_address(self) -> str:
        """Where it speaks Kafka's protocol."""
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> list[str]:
        """The last lines that it printed."""
        return self._out.read_text(errors="replace").splitlines()[-50:] if self._out.exists() else []

    def start(self) -> None:
        """Return when it accepts connections; answering may take it longer. Raises BenchError."""
        settings = self.directory.with_name(f"{self.directory.name}.properties")
        if not self.directory.exists():
            settings.write_text(
                PROPERTIES.format(port=self.port, controller_port=self._controller_port, directory=self.directory)
            )
            self._format(settings)
        with self._out.open("ab") as out:
            # A session of its own: Ctrl-C is meant for the benchmark, which then stops the broker.
            self._process = subprocess.Popen(
                self._command("kafka.Kafka", str(settings)), stdout=out, stderr=out, start_new_session=True
            )
        self.pid = self._process.pid
        try:
            self._wait_for_port()
        except BaseException:
            self.kill()
            raise

    def _format(self, settings: Path) -> None:
        """Make the directory; Kafka does not start on one that was not formatted."""
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A")
        _run(
            self._command("kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(settings)),
            FORMAT_TIMEOUT_S,
            "Apache Kafka could not format its directory",
        )

    def _command(self, name: str, *words: str) -> list[str]:
        options = OPTIONS if name == "kafka.Kafka" else ()
        return [self.java, *options, "-cp", f"{self.jars}/*", name, *words]

    def _wait_for_port(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            if self._process.poll() is not None:
                raise BenchError("Apache Kafka did not start:\n" + "\n".join(self.log))
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise BenchError(f"Apache Kafka was not ready after {START_TIMEOUT_S} s") from None
            time.sleep(0.02)

    def stop(self) -> float:
        """End it with SIGTERM; the seconds that it took. Raises BenchError when it failed."""
        process, self._process = self._process, None
        began = time.perf_counter()
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            kill(process)
            raise BenchError(f"Apache Kafka did not stop within {STOP_TIMEOUT_S} s") from None
        # The virtual machine ends itself with the number of the signal.
        if code not in {0, 128 + signal.SIGTERM}:
            raise BenchError(f"Apache Kafka ended with {code}:\n" + "\n".join(self.log))
        return time.perf_counter() - began

    def kill(self) -> None:
        """End it with SIGKILL and wait until it is gone. A second call does nothing."""
        if self._process is not None:
            process, self._process = self._process, None
            kill(process)


def _find_java() -> str:
    java = shutil.which("java")
    if java is None:
        raise BenchError(f"Java is not installed; Apache Kafka needs {JAVA} or newer")
    text = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(\d+)', text)
    if found is None or int(found[1]) < JAVA:
        raise BenchError(f"Apache Kafka needs Java {JAVA} or newer; `java -version` says: {text.strip()}")
    return java


def _find_jars() -> Path:
    """The directory with all jars, fetched if it is not there."""
    if JARS.exists():
        return JARS
    maven = shutil.which("mvn")
    if maven is None:
        raise BenchError("Maven is not installed; the jars of Apache Kafka are fetched with it")
    JARS.parent.mkdir(parents=True, exist_ok=True)
    print(f"fetching Apache Kafka {VERSION} with Maven ...", flush=True)
    with tempfile.TemporaryDirectory(prefix="fetching-", dir=JARS.parent) as name:
        jars = Path(name) / "jars"
        command = [maven, "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={jars}"]
        _run(command, FETCH_TIMEOUT_S, "Maven could not fetch the jars of Apache Kafka")
        # All of them or none: the directory has its name when it is complete.
        jars.rename(JARS)
    return JARS


def _run(command: list[str], timeout_s: float, failure: str) -> None:
    environ = os.environ | {"MAVEN_ARGS": ""}
    try:
        done = subprocess.run(command, env=environ, timeout=timeout_s, capture_output=True, text=True, check=False)
    except subprocess.TimeoutExpired:
        raise BenchError(f"{failure}: not finished after {timeout_s:g} s") from None
    if done.returncode:
        raise BenchError(f"{failure}:\n{(done.stdout + done.stderr).strip()}")
