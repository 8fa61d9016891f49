"""docs/cli.md and docs/operations.md say what is true: the examples run and the tables are complete."""

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from portask.broker import Broker
from portask.cli.command import COMMANDS
from portask.cli.outcome import EXIT_TEXTS
from portask.clock import Clock
from portask.config import load_settings
from portask.storage.local import LocalOptions, LocalStorage
from portask.telemetry.metrics import render

DOCS = Path(__file__).parents[2] / "docs"
CLI = (DOCS / "cli.md").read_text()
DEFINITIONS = (DOCS / "definitions.md").read_text()
OPERATIONS = (DOCS / "operations.md").read_text()


def examples(text):
    """(command, expected output) of all console blocks, in order."""
    found = []
    for block in re.findall(r"^```console\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append((command, output))
    return found


def is_as_shown(output, shown):
    """Whether *output* is what is *shown*, where ... stands for anything on a line and spaces for any spaces."""
    lines = [re.split(r"\s*\.\.\.\s*", " ".join(line.split())) for line in shown.strip("\n").split("\n")]
    pattern = "\n".join(".*".join(map(re.escape, parts)) for parts in lines)
    actual = "\n".join(" ".join(line.split()) for line in output.strip("\n").split("\n"))
    return re.fullmatch(pattern, actual) is not None


@pytest.fixture
def shell(start_server, environ, tmp_path):
    """A function that runs a line of the shell with `portask` in its path, and returns all that it prints."""
    server = start_server(tmp_path / "data")
    program = tmp_path / "bin" / "portask"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m portask "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    work = tmp_path / "work"
    work.mkdir()
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    # The working directory is not the project's, which may be imported from where the tests are run.
    modules = os.pathsep.join(filter(None, (str(DOCS.parent), os.environ.get("PYTHONPATH"))))
    variables = environ(PATH=path, PORTASK_SERVER=server.address, PYTHONPATH=modules)

    def shell(line):
        done = subprocess.run(
            ["bash", "-c", line],
            check=False,
            cwd=work,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60,
        )
        return done.stdout.decode()

    return shell


@pytest.mark.parametrize("page", [CLI, DEFINITIONS], ids=["cli", "definitions"])
def test_examples_do_what_is_shown(shell, page):
    for name, content in re.findall(r"^```json (\S+)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE):
        shell(f"cat > {name} <<'END'\n{content}END")
    for command, shown in examples(page):
        output = shell(command)
        assert is_as_shown(output, shown), f"$ {command}\n{output}"


def test_every_command_is_listed():
    for command in COMMANDS:
        assert f"| `{command.name}` | {command.text} |" in CLI


def test_every_exit_code_is_listed():
    for code, text in EXIT_TEXTS.items():
        assert f"| {int(code)} | {text} |" in CLI


def test_every_metric_is_listed(tmp_path):
    broker = Broker(load_settings((), {}), LocalStorage(LocalOptions(directory=str(tmp_path))), Clock())
    broker.start()
    broker.stats.protocol("native")
    broker.subscribe(broker.create_topic("t"), "g")
    families = text_string_to_metric_families(render(broker).decode())
    names = {family.name + ("_total" if family.type == "counter" else "") for family in families}
    broker.stop(5)

    assert names == set(re.findall(r"^\| `(portask_\w+)` \|", OPERATIONS, re.MULTILINE))
