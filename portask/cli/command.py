"""The commands by name, and how one of them is run.

A command is a module with `configure(parser)`: it adds arguments and says with `set_defaults(run=...)`
which function does the work. Only the module that is asked for is imported, so that `portask pub`
starts as fast as it can and never pays for what `portask bench` needs.
"""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import NamedTuple, NoReturn

from portask import __version__
from portask.cli.outcome import CommandError, Exit, classify
from portask.errors import PortaskError

SERVER_VARIABLE = "PORTASK_SERVER"
"""Where every command but `serve` looks for the broker when there is no --server."""
DEFAULT_SERVER = "127.0.0.1:7672"

Runner = Callable[[argparse.Namespace], int]


class Command(NamedTuple):
    """A command as the overview shows it."""

    name: str
    module: str
    text: str


COMMANDS = (
    Command("serve", "serve", "run the broker"),
    Command("pub", "pub", "publish messages"),
    Command("sub", "sub", "subscribe: receive and acknowledge messages"),
    Command("read", "read", "read a partition without changing anything"),
    Command("tail", "tail", "show the newest messages and follow"),
    Command("topic", "topic", "list, create, show, alter and remove topics"),
    Command("group", "group", "list, show and remove subscriptions"),
    Command("definitions", "definitions", "export and import what is declared, in RabbitMQ's format"),
    Command("policy", "policy", "list, set and remove policies of queues and exchanges"),
    Command("schedule", "schedule", "list and cancel delayed messages"),
    Command("status", "status", "show how the broker is doing"),
    Command("config", "config", "print, check or reload the configuration"),
    Command("export", "export", "write a topic to a file of JSON lines"),
    Command("import", "import_", "publish a file of JSON lines"),
    Command("bench", "bench", "measure throughput and latency"),
    Command("verify", "verify", "check a data directory for damage"),
    Command("repair", "repair", "set damage in a data directory aside"),
)


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are one line that names the help."""

    def __init__(self, *, example: str = "", **options: object) -> None:
        super().__init__(
            **options,  # type: ignore[arg-type]  # argparse's own options, passed through
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            epilog=f"example:\n  {example}" if example else None,
        )

    def error(self, message: str) -> NoReturn:
        """Raise CommandError."""
        raise CommandError(f"{message}; see '{self.prog} --help'", Exit.USAGE)


def run(arguments: Sequence[str]) -> int:
    """Run the command that *arguments* name, tell on stderr what went wrong, and return the exit code."""
    try:
        code = _dispatch(list(arguments))
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output has seen enough. What is still buffered must not raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except (PortaskError, OSError) as error:
        outcome = classify(error)
        print(f"portask: {outcome.text}", file=sys.stderr)
        return outcome.code
    return code


def add_server(parser: argparse.ArgumentParser) -> None:
    """Add --server and --timeout, what every command that talks to a broker takes."""
    parser.add_argument(
        "--server",
        metavar="HOST:PORT",
        default=os.environ.get(SERVER_VARIABLE) or DEFAULT_SERVER,
        help=f"the broker (variable {SERVER_VARIABLE}, default {DEFAULT_SERVER})",
    )
    parser.add_argument("--timeout", metavar="S", type=float, default=10.0, help="seconds to wait for the broker (10)")


def add_actions(parser: argparse.ArgumentParser) -> Callable[[str, str, str, Runner], argparse.ArgumentParser]:
    """A function that adds an action, such as `ls` of `portask topic ls`: name, help, example, what to run."""
    actions = parser.add_subparsers(metavar="ACTION", required=True, parser_class=Parser)

    def add(name: str, text: str, example: str, runner: Runner) -> argparse.ArgumentParser:
        action: argparse.ArgumentParser = actions.add_parser(
            name, help=text, description=_sentence(text), example=example
        )
        action.set_defaults(run=runner)
        return action

    return add


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_overview())
        return Exit.OK if arguments else Exit.USAGE
    name, *rest = arguments
    if name == "--version":
        print(f"portask {__version__}")
        return Exit.OK
    command = next((command for command in COMMANDS if command.name == name), None)
    if command is None:
        near = difflib.get_close_matches(name, [known.name for known in COMMANDS], 1)
        hint = f"did you mean '{near[0]}'?" if near else "see 'portask --help'"
        raise CommandError(f"there is no command '{name}'; {hint}", Exit.USAGE)
    module = import_module(f"portask.cli.{command.module}")
    if name == "serve":
        # The configuration has a parser of its own, for flags, variables and the file alike.
        return int(module.run(rest))
    parser = Parser(prog=f"portask {name}", description=_sentence(command.text), example=module.EXAMPLE)
    module.configure(parser)
    try:
        namespace = parser.parse_args(rest)
    except SystemExit as stop:  # argparse has printed the help
        return int(stop.code or 0)
    return int(namespace.run(namespace))


def _overview() -> str:
    width = max(len(command.name) for command in COMMANDS)
    lines = [f"  {command.name:<{width}}  {command.text}" for command in COMMANDS]
    return "\n".join(
        [
            f"portask {__version__}: a message broker.",
            "",
            "usage: portask COMMAND ...",
            "",
            *lines,
            "",
            "'portask COMMAND --help' shows the arguments of one command, with an example.",
        ]
    )


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."
