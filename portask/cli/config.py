"""`portask config`: print the configuration, check a file, have a running broker reload."""

from __future__ import annotations

import argparse
import os

from portask.cli.command import add_actions, add_server
from portask.cli.connect import connect
from portask.cli.outcome import Exit
from portask.cli.output import add_output, print_object, print_rows
from portask.cli.serve import server_environ
from portask.config import CONFIG_VARIABLE, Settings, load_settings
from portask.config_reference import annotated_toml
from portask.core_options import CORE_OPTIONS
from portask.options import Option
from portask.server import find_handlers, make_storage

EXAMPLE = "portask config check /etc/portask/portask.toml"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the actions."""
    add = add_actions(parser)

    action = add(
        "print",
        "print all options, or the values that a server would start with",
        "portask config print --effective",
        _print,
    )
    action.add_argument(
        "--effective", action="store_true", help="every value and where it comes from; secrets are hidden"
    )
    action.add_argument("--config", metavar="FILE", help="with --effective: a configuration file")
    add_output(action)

    action = add("check", "check a configuration file", EXAMPLE, _check)
    action.add_argument("file", metavar="FILE")

    action = add("reload", "have the running broker read its configuration again", "portask config reload", _reload)
    add_output(action)
    add_server(action)


def _print(arguments: argparse.Namespace) -> int:
    options = _handler_options()
    if not arguments.effective:
        print(annotated_toml((*CORE_OPTIONS, *options)), end="")
        return Exit.OK
    settings = _load(arguments.config, options, dict(os.environ))
    values = settings.effective()
    rows = [
        {
            "section": option.section,
            "name": option.name,
            "value": values[option.name],
            "unit": option.unit,
            "source": settings.source(option.name),
        }
        for option in settings.options
    ]
    print_rows(rows, ("name", "value", "unit", "source"), arguments.output)
    return Exit.OK


def _check(arguments: argparse.Namespace) -> int:
    # Of the environment nothing: what is checked is the file.
    make_storage(_load(arguments.file, _handler_options(), {}))
    print(f"{arguments.file} is valid")
    return Exit.OK


def _reload(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        print_object(client.reload(), arguments.output)
    return Exit.OK


def _handler_options() -> list[Option]:
    return [option for handler in find_handlers() for option in handler.options]


def _load(path: str | None, options: list[Option], environ: dict[str, str]) -> Settings:
    if path is not None:
        environ.pop(CONFIG_VARIABLE, None)
    return load_settings(["--config", path] if path is not None else [], server_environ(environ), options)
