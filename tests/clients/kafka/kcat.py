"""kcat, with the librdkafka that the distribution has."""

import json
import shutil
import subprocess

from tests.clients.toolchain import leave_out

LONGEST_S = 60


class Kcat:
    """A function that runs kcat against the broker at *bootstrap*."""

    def __init__(self, bootstrap):
        if shutil.which("kcat") is None:
            leave_out("kcat is not installed")
        self.bootstrap = bootstrap
        self.log = ""

    def __call__(self, *words, data=b""):
        """What kcat printed when given *data*, its log is kept; raises AssertionError when it failed."""
        command = ["kcat", "-b", self.bootstrap, *words]
        done = subprocess.run(command, input=data, capture_output=True, timeout=LONGEST_S, check=False)
        self.log = done.stderr.decode()
        assert done.returncode == 0, f"{words}: {self.log}"
        return done.stdout

    def consume(self, topic, *words):
        """The messages of *topic* to its end, as kcat describes them in JSON."""
        lines = self("-C", "-t", topic, "-e", "-q", "-J", *words).splitlines()
        return [json.loads(line) for line in lines]
