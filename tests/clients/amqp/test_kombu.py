"""kombu's simple queues and mailboxes, which Celery's remote control is made of, in a process of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clients import toolchain

LONGEST_S = 60
PROGRAM = Path(__file__).parent / "kombu_session.py"


@pytest.mark.parametrize("session", ["simple_queue", "simple_buffer", "mailbox", "broadcast"])
def test_kombu_has_its_session(session, broker):
    packages = toolchain.KOMBU.require() / "packages"
    environ = {name: text for name, text in os.environ.items() if not name.startswith("COVERAGE_")}
    host, port = broker.address
    done = subprocess.run(
        [sys.executable, PROGRAM, f"amqp://guest:guest@{host}:{port}//", session],
        env=environ | {"PYTHONPATH": str(packages)}, capture_output=True, text=True, timeout=LONGEST_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
