"""PerfTest, RabbitMQ's own load, as the program that its users start."""

import re
import subprocess

import pytest

from tests.clients.toolchain import java_command

LONGEST_S = 120


MESSAGES = 1000
DURABLE = ("--auto-delete", "false", "--flag", "persistent", "--confirm", 100)
RATES = re.compile(r"(sending|receiving) rate avg: (\d+) msg/s")
CASES = {
    "persistent messages with confirms": DURABLE,
    "an ack for several messages": (*DURABLE, "--multi-ack-every", 50, "--qos", 200),
    "transient messages without acks": ("--autoack",),
    "mandatory messages": ("--flag", "mandatory", "--confirm", 100),
    "bodies of several frames": ("--size", 200_000, "--confirm", 10, "--qos", 5),
    "a quorum queue": ("--quorum-queue", "--flag", "persistent", "--confirm", 100, "--qos", 100),
    "acks and publishes in transactions": ("--ptxsize", 20, "--ctxsize", 20),
    "basic.get instead of consuming": ("--polling", "--confirm", 100),
    "two producers on a topic exchange": ("--type", "topic", "--producers", 2, "--cmessages", 2 * MESSAGES),
}


@pytest.mark.parametrize("words", CASES.values(), ids=CASES)
def test_all_that_is_sent_is_received(java_amqp_directory, address, queue, words):
    counts = ("--pmessages", MESSAGES, "--queue", queue)
    if "--cmessages" not in words:
        counts += ("--cmessages", MESSAGES)
    command = ("com.rabbitmq.perf.PerfTest", "--uri", f"amqp://{address}", *counts, *words)
    done = subprocess.run(
        java_command(java_amqp_directory, *command), capture_output=True, text=True, timeout=LONGEST_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rates = dict(RATES.findall(done.stdout))
    assert rates.keys() == {"sending", "receiving"}, done.stdout
    assert not re.search(r"nacked: [1-9]", done.stdout), done.stdout
    assert re.search(r"test stopped \(Producer reached [^)]*, Consumer reached message limit\)", done.stdout), (
        done.stdout
    )
