"""Kafka's own command-line tools, each a Java program, named as their scripts are without `kafka-` and `.sh`."""

import subprocess
from typing import NamedTuple

from tests.clients.toolchain import java_command

CLASSES = {
    "broker-api-versions": "BrokerApiVersionsCommand",
    "cluster": "ClusterTool",
    "console-consumer": "consumer.ConsoleConsumer",
    "console-producer": "ConsoleProducer",
    "consumer-groups": "consumer.group.ConsumerGroupCommand",
    "consumer-perf-test": "ConsumerPerformance",
    "delete-records": "DeleteRecordsCommand",
    "features": "FeatureCommand",
    "get-offsets": "GetOffsetShell",
    "groups": "GroupsCommand",
    "leader-election": "LeaderElectionCommand",
    "log-dirs": "LogDirsCommand",
    "metadata-quorum": "MetadataQuorumCommand",
    "producer-perf-test": "ProducerPerformance",
    "reassign-partitions": "reassign.ReassignPartitionsCommand",
    "topics": "TopicCommand",
    "verifiable-consumer": "VerifiableConsumer",
    "verifiable-producer": "VerifiableProducer",
}
# These tools have subcommands, which come behind the options that all of them take.
ADDRESS_FIRST = {"features", "metadata-quorum"}
LONGEST_S = 60


class Outcome(NamedTuple):
    """How a tool ended."""

    code: int
    output: str
    errors: str


class Tools:
    """A function that runs a tool against the broker at *bootstrap*."""

    def __init__(self, directory, bootstrap):
        self.directory = directory
        self.bootstrap = bootstrap

    def __call__(self, name, *words, text=""):
        """What the tool printed when given *text*; raises AssertionError when it failed."""
        done = self.outcome(name, *words, text=text)
        assert done.code == 0, f"{name} {words}: {done.output}{done.errors}"
        return done.output

    def outcome(self, name, *words, text=""):
        """How the tool ended."""
        done = subprocess.run(
            self.command(name, *words), input=text, capture_output=True, text=True, timeout=LONGEST_S, check=False
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def command(self, name, *words):
        """The command line of a tool."""
        main = "kafka.admin.ConfigCommand" if name == "configs" else f"org.apache.kafka.tools.{CLASSES[name]}"
        if name == "producer-perf-test":
            address = ("--producer-props", f"bootstrap.servers={self.bootstrap}")
        else:
            address = ("--bootstrap-server", self.bootstrap)
        return java_command(self.directory, main, *(address + words if name in ADDRESS_FIRST else words + address))


def table(output):
    """The rows of a table that a tool printed, as dictionaries by column."""
    head, *rows = [line.split() for line in output.splitlines() if line.strip()]
    return [dict(zip(head, row, strict=False)) for row in rows]
