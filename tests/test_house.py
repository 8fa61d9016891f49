"""What holds the project together: the service unit, the generated files, the package."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

import portask
from portask.config import load_settings
from portask.core_options import CORE_OPTIONS

ROOT = Path(__file__).resolve().parent.parent
UNIT = ROOT / "etc" / "portask.service"
ANALYZE = shutil.which("systemd-analyze")


def load_generator():
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "name", ["etc/portask.toml", "docs/configuration.md", "docs/protocol.md", "docs/kafka.md", "docs/amqp.md"]
)
def test_generated_file_is_what_the_declarations_say(name):
    expected = load_generator().generated()[ROOT / name]

    assert (ROOT / name).read_text() == expected, "run `make reference`"


def test_annotated_file_loads():
    handler_options = load_generator().all_options()[len(CORE_OPTIONS) :]

    load_settings(["--config", str(ROOT / "etc" / "portask.toml")], {}, handler_options)


def test_names_of_all_options_are_unique():
    options = load_generator().all_options()

    assert len({option.name for option in options}) == len(options)
    assert len({(option.section, option.key) for option in options}) == len(options)


@pytest.mark.parametrize(
    "flag", ["--native-port", "--http-port", "--kafka-port", "--amqp-port", "--data-dir", "--sync"]
)
def test_flag_that_scripts_rely_on_exists(flag):
    assert flag in {option.flag for option in load_generator().all_options()}


def unit_directives():
    """Directive -> its values, in the order in which they stand."""
    directives = {}
    for line in UNIT.read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            directives.setdefault(name, []).append(value)
    return directives


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Type", "notify"),
        ("DynamicUser", "yes"),
        ("StateDirectory", "portask"),
        ("NoNewPrivileges", "yes"),
        ("ProtectSystem", "strict"),
        ("CapabilityBoundingSet", ""),
        ("MemoryDenyWriteExecute", "yes"),
        ("UMask", "0077"),
    ],
)
def test_unit_has_the_directive(name, value):
    assert unit_directives()[name] == [value]


def test_unit_waits_longer_for_the_stop_than_the_server_allows_itself():
    (timeout,) = unit_directives()["TimeoutStopSec"]
    default = next(option.default for option in CORE_OPTIONS if option.name == "shutdown_timeout_ms")

    assert int(timeout.removesuffix("s")) * 1000 > default


def test_unit_starts_with_flags_that_exist():
    (command,) = unit_directives()["ExecStart"]
    known = {option.flag for option in CORE_OPTIONS} | {"--config"}

    assert set(re.findall(r"--[a-z-]+", command)) <= known


def analyze(tmp_path, *arguments):
    """What systemd-analyze says about the unit, started with a program that exists here."""
    unit = tmp_path / "portask.service"
    unit.write_text(UNIT.read_text().replace("/opt/portask/bin/portask", sys.executable))
    environ = os.environ | {"SYSTEMD_LOG_LEVEL": "warning", "SYSTEMD_COLORS": "0"}
    return subprocess.run(
        [ANALYZE, *arguments, str(unit)], capture_output=True, text=True, check=False, env=environ, timeout=60
    )


if ANALYZE:

    def test_unit_is_accepted_by_systemd(tmp_path):
        result = analyze(tmp_path, "verify", "--man=no")

        assert (result.returncode, result.stderr) == (0, "")

    def test_unit_exposes_little(tmp_path):
        result = analyze(tmp_path, "security", "--offline=true", "--threshold=30")

        assert result.returncode == 0, result.stdout


def metadata():
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    return setup


def test_every_dependency_has_a_lower_bound():
    names = metadata()["options"]["install_requires"].split()

    assert names
    assert all(">=" in name for name in names)


def test_every_dependency_has_its_licence_written_down():
    page = (ROOT / "docs" / "licences.md").read_text()
    names = [name.partition(">=")[0] for name in metadata()["options"]["install_requires"].split()]

    assert all(f"| {name} |" in page for name in names)


def test_version_is_a_version():
    assert re.fullmatch(r"\d+\.\d+\.\d+", portask.__version__)


def test_make_help_names_every_target():
    result = subprocess.run(["make", "-C", str(ROOT), "help"], capture_output=True, text=True, check=True)

    assert set(re.findall(r"make (\w+)", result.stdout)) >= {"run", "install", "test", "lint", "bench", "clean"}


def test_ci_script_is_valid_bash():
    assert subprocess.run(["bash", "-n", str(ROOT / ".ci" / "run")], check=False).returncode == 0
