"""The command line as such: names, help, errors and exit codes."""

import os
import subprocess
import sys

import pytest

from portask import __version__
from portask.cli.command import COMMANDS
from portask.cli.outcome import EXIT_TEXTS, Exit


def test_without_arguments_the_commands_are_listed_and_nothing_is_done(run):
    done = run()

    assert done.code == Exit.USAGE
    assert all(f"  {command.name} " in done.out for command in COMMANDS)


def test_help_lists_the_commands(run):
    assert run("--help").code == Exit.OK


def test_version_is_printed(run):
    assert run("--version").out == f"portask {__version__}\n"


def test_misspelt_command_names_the_nearest(run):
    done = run("serv")

    assert (done.code, done.err) == (2, "portask: there is no command 'serv'; did you mean 'serve'?\n")


def test_unknown_command_names_the_help(run):
    assert run("xyzzy").err == "portask: there is no command 'xyzzy'; see 'portask --help'\n"


@pytest.mark.parametrize("name", [command.name for command in COMMANDS if command.name != "serve"])
def test_every_command_has_help_with_an_example(run, name):
    done = run(name, "--help")

    assert done.code == Exit.OK
    assert f"example:\n  portask {name} " in done.out


@pytest.mark.parametrize(
    "words",
    [
        *(f"topic {action}" for action in ("ls", "create", "show", "alter", "rm")),
        *(f"group {action}" for action in ("ls", "show", "rm")),
        *(f"config {action}" for action in ("print", "check", "reload")),
        *(f"bench {action}" for action in ("pub", "sub", "both", "latency")),
    ],
)
def test_every_action_has_help_with_an_example(run, words):
    done = run(*words.split(), "--help")

    assert done.code == Exit.OK
    assert "example:\n  portask " in done.out


def test_help_of_serve_lists_every_option_of_core_and_handlers(run):
    done = run("serve", "--help")

    assert done.code == Exit.OK
    for flag in ("--data-dir", "--host", "--native-port", "--http-port", "--kafka-port", "--storage", "--sync"):
        assert flag in done.out


@pytest.mark.parametrize(
    "words",
    [
        "pub",
        "pub t x --nonsense",
        "topic",
        "topic create",
        "topic frobnicate",
        "sub t --count zero",
        "bench pub --size 0",
    ],
)
def test_wrong_usage_is_one_line_that_names_the_help(run, words):
    done = run(*words.split())

    assert done.code == Exit.USAGE
    assert done.out == ""
    assert done.err.startswith("portask: ")
    assert done.err.endswith("--help'\n")
    assert done.err.count("\n") == 1


def test_missing_broker_is_told_with_what_to_do(run):
    done = run("topic", "ls", "--server", "127.0.0.1:1")

    assert done.code == Exit.UNAVAILABLE
    assert "127.0.0.1:1" in done.err
    assert "portask serve" in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:", ":7672", "host:99999", "host:port"])
def test_address_that_is_none_is_refused(run, address):
    done = run("status", "--server", address)

    assert done.code == Exit.USAGE
    assert "HOST:PORT" in done.err


def test_flag_goes_before_the_variable(run, server):
    assert run("status", "--server", server.address, PORTASK_SERVER="127.0.0.1:1").code == Exit.OK


def test_reader_that_has_enough_is_no_error(portask, popen, topic):
    portask("pub", topic, "x" * 1000, "--count", "2000", "--quiet")
    process = popen("read", topic, "--output", "raw")

    process.stdout.readline()
    process.stdout.close()

    assert process.wait(60) == Exit.OK
    assert process.stderr.read() == b""


def test_no_command_but_serve_imports_gevent():
    code = (
        "import sys; from portask.__main__ import main; main(['pub', '--help']); import portask.client;"
        "sys.exit('gevent' in sys.modules)"
    )

    # Measuring coverage would import gevent itself.
    variables = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    done = subprocess.run([sys.executable, "-c", code], check=False, stdout=subprocess.DEVNULL, env=variables)
    assert done.returncode == 0


def test_every_exit_code_has_a_text():
    assert set(EXIT_TEXTS) == set(Exit)
