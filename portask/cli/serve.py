"""`portask serve`: run the broker until it is told to stop."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from portask.cli.command import SERVER_VARIABLE
from portask.config import load_settings
from portask.server import find_handlers
from portask.server import run as run_server


def run(arguments: Sequence[str]) -> int:
    """Serve with the settings that *arguments*, the environment and the file add up to."""
    handlers = find_handlers()
    options = [option for handler in handlers for option in handler.options]
    try:
        settings = load_settings(arguments, server_environ(os.environ), options)
    except SystemExit as stop:  # the help was printed
        return int(stop.code or 0)
    return run_server(settings, handlers)


def server_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """*environ* without what is meant for the other commands: a server would take it for a misspelt option."""
    return {name: value for name, value in environ.items() if name != SERVER_VARIABLE}
