"""What the README shows is what happens."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.server_process import ServerProcess

README = (Path(__file__).parent.parent / "README.md").read_text()


@pytest.fixture
def server(tmp_path):
    process = ServerProcess(tmp_path / "data")
    process.start()
    yield process
    assert process.stop() == 0


def block(language):
    """The first block of code in that language."""
    return re.search(rf"```{language}\n(.*?)```", README, re.DOTALL).group(1)


def test_three_lines_of_shell_publish_and_receive(server):
    script = block("bash").replace("7672", str(server.port))

    shown = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=20, check=True).stdout

    # The confirm may overtake the message where a sync takes no time.
    lines = re.sub(r"timestamp=\d+", "timestamp=1795440871501", shown).splitlines()
    assert sorted(lines) == sorted(block("text").splitlines())


def test_the_python_example_publishes_and_receives(server):
    script = block("python").replace("7672", str(server.port))

    shown = subprocess.run([sys.executable, "-"], input=script, capture_output=True, text=True, check=False)

    assert shown.stdout == "orders/0/0\norders/0/0 b'two coffees, one tea'\n", shown.stderr
