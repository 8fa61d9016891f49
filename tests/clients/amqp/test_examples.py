"""The programs in docs/amqp.md and the README print what is shown below them."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clients import toolchain
from tests.clients.amqp.broker import Portask
from tests.server_process import free_port

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "amqp.md").read_text()
README = (ROOT / "README.md").read_text()
SHOWN = r"```\n\n```text\n(.*?)^```$"
LONGEST_S = 60


def programs(page):
    """(program, what it prints) of each that stands alone and names AMQP's port."""
    found = re.findall(rf"^```python\n([^`]*)^{SHOWN}", page, re.DOTALL | re.MULTILINE)
    return [(program, shown) for program, shown in found if ":5672" in program]


def block(kind):
    """The block of the page that is marked with *kind*."""
    return re.search(rf"^```python {re.escape(kind)}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE).group(1)


@pytest.fixture
def ports(tmp_path):
    """A function that puts the ports of a server of this test in the place of those that are shown."""
    kafka_port = free_port()
    server = Portask(tmp_path / "data", "--kafka-port", str(kafka_port))
    server.start()
    yield lambda text: text.replace(":5672", f":{server.amqp_port}").replace(":9092", f":{kafka_port}")
    server.kill()


def output(program, directory, variables=None):
    done = subprocess.run(
        [sys.executable, "-"], input=program, cwd=directory, env=variables,
        capture_output=True, text=True, timeout=LONGEST_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_page_and_readme_have_programs():
    assert (len(programs(PAGE)), len(programs(README))) == (2, 1)


@pytest.mark.parametrize(("program", "shown"), programs(PAGE) + programs(README))
def test_program_prints_what_is_shown(ports, tmp_path, program, shown):
    assert output(ports(program), tmp_path) == shown


def test_celery_project_needs_nothing_but_the_address(ports, tmp_path):
    (tmp_path / "tasks.py").write_text(ports(block("tasks.py")))
    packages = toolchain.CELERY.require() / "packages"
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join([str(packages), str(tmp_path)])}
    (command,) = re.findall(r"`celery (-A tasks .*?)`", PAGE)
    (shown,) = re.findall(rf"^```python celery\n[^`]*{SHOWN}", PAGE, re.DOTALL | re.MULTILINE)
    worker = subprocess.Popen(
        [sys.executable, "-m", "celery", *command.split(), "--concurrency", "1"],
        cwd=tmp_path, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        assert output(block("celery"), tmp_path, variables) == shown
    finally:
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()
