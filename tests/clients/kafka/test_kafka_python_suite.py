"""kafka-python's own integration tests, from its source distribution."""

import os
import subprocess
import sys

import pytest

from tests.clients import toolchain
from tests.server_process import KafkaServerProcess

# As what the tests are to take the broker: the newest Kafka whose API versions it has.
VERSION = "4.3"
LONGEST_S = 300


@pytest.fixture
def broker(tmp_path):
    """Portask, set up as the tests set up their Kafka; its address."""
    flags = ("--node-id", "0", "--default-partitions", "4", "--group-min-session-timeout-ms", "1000")
    server = KafkaServerProcess(tmp_path / "data", *flags)
    server.start()
    yield server.bootstrap
    server.kill()


def test_every_test_of_kafka_python_passes_or_is_left_out_for_a_reason(broker, tmp_path):
    suite = toolchain.KAFKA_PYTHON.require()
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    environ |= {
        "PYTHONPATH": f"{suite}{os.pathsep}{toolchain.KAFKA_PYTHON.sources}",
        "KAFKA_URI": f"kafka://{broker}",
        "KAFKA_VERSION": VERSION,
        "KAFKA_ROOT": str(tmp_path),
    }
    settings = tmp_path / "pytest.ini"
    settings.write_text("[pytest]\n")
    command = (sys.executable, "-m", "pytest", "-c", settings, "--rootdir", suite, "-p", "no:cacheprovider")
    output = ("-q", "--tb=short", "--show-capture=no", "--disable-warnings")
    done = subprocess.run(
        [*command, "-p", "plugin", *output, suite / "test" / "integration"],
        cwd=suite,
        env=environ,
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
