"""The suite of somebody else's library, from its source distribution, in a process of its own beside its own broker.

A suite that mostly waits is started before the first test and asked for its result by the last ones. It is given a
copy of its sources, because tests write beside themselves, and is ended with all its processes when its time is up.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from tests.clients.amqp.broker import PEER, Peer, Portask
from tests.clients.redis_server import RedisServer

HERE = Path(__file__).parent
# The classes of all these suites are named so; their own settings ask for plugins that nothing here needs.
SETTINGS = "[pytest]\npython_classes = test_*\n"
COMMAND = (
    sys.executable,
    "-m",
    "pytest",
    "-c",
    "pytest.ini",
    "--rootdir",
    ".",
    "-p",
    "no:cacheprovider",
    "-p",
    "plugin",
)
OUTPUT = ("-q", "--tb=short", "--show-capture=no", "--disable-warnings")


class Suite:
    """Everything in t/integration but what the file *left_out* names.

    *environ* says from the broker's host and port, and the address of a Redis where one *needs_redis*, how the
    suite is told of them.
    """

    def __init__(self, toolchain, left_out, environ, *, longest_s, words=(), needs_redis=False, mostly_waits=False):
        self.toolchain = toolchain
        self.left_out = HERE / left_out
        self.environ = environ
        self.longest_s = longest_s
        self.words = words
        self.needs_redis = needs_redis
        # A broker that others use too is asked by one suite at a time.
        self.starts_early = mostly_waits and PEER is None
        self.owned = ExitStack()
        self.process = None
        self.output = None
        self.deadline = None

    def start(self):
        """Start it with what it needs, unless it runs; the running test is left out where programs are missing."""
        if self.process is not None:
            return
        made = self.toolchain.require()
        with ExitStack() as owned:
            directory = Path(owned.enter_context(tempfile.TemporaryDirectory()))
            source = directory / "source"
            shutil.copytree(made / "source", source)
            (source / "pytest.ini").write_text(SETTINGS)
            address = self._broker(owned, directory / "data")
            redis = owned.enter_context(RedisServer(directory)).address if self.needs_redis else None
            self.output = directory / "output"
            with self.output.open("wb") as output:
                self.process = subprocess.Popen(
                    [*COMMAND, *OUTPUT, *self.words, "t/integration"],
                    cwd=source,
                    env=self._environ(made / "packages", source) | self.environ(*address, redis),
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            self.deadline = time.monotonic() + self.longest_s
            owned.callback(self._kill)
            self.owned = owned.pop_all()

    @staticmethod
    def _broker(owned, directory):
        if PEER is not None:
            return Peer().address
        broker = Portask(directory)
        broker.start()
        owned.callback(broker.kill)
        return broker.address

    def _environ(self, packages, source):
        inherited = {name: text for name, text in os.environ.items() if not name.startswith(("COVERAGE_", "PORTASK_"))}
        return inherited | {
            "PYTHONPATH": os.pathsep.join(map(str, (packages, source, HERE))),
            "PATH": os.pathsep.join([str(packages / "bin"), inherited["PATH"]]),
            "LEFT_OUT": str(self.left_out),
        }

    def result(self):
        """Wait until it ends, at most until its time is up: the exit code, None when it was, and what it printed."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(max(0, self.deadline - time.monotonic()))
        return self.process.poll(), self.output.read_text(errors="replace")

    def stop(self):
        """End it and all that was started for it. A second call does nothing."""
        self.owned.close()
        self.process = None

    def _kill(self):
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
