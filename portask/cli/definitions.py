"""`portask definitions`: all that is declared as one file of JSON, as RabbitMQ's tools write and read it."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from portask.cli.command import add_actions, add_server
from portask.cli.connect import connect
from portask.cli.outcome import CommandError, Exit
from portask.cli.output import add_output, print_object, print_rows
from portask.definitions.lists import SECTIONS

EXAMPLE = "portask definitions import rabbitmq.json"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the actions."""
    add = add_actions(parser)

    action = add("export", "write them to a file", "portask definitions export definitions.json", _export)
    action.add_argument("file", metavar="FILE", help="where to write; - is stdout")
    action.add_argument("--force", action="store_true", help="replace FILE if it exists")
    _add_common(action)

    action = add("import", "have all that a file declares, and change nothing else", EXAMPLE, _import)
    action.add_argument("file", metavar="FILE", help="what to read; - is stdin")
    _add_common(action)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--vhost", metavar="NAME", help="only what belongs to this virtual host, without its name")
    add_output(parser)
    add_server(parser)


def _export(arguments: argparse.Namespace) -> int:
    path = Path(arguments.file)
    if arguments.file != "-" and not arguments.force and path.exists() and path.stat().st_size:
        raise CommandError(f"{path} exists; replace it with --force", Exit.USAGE)
    with connect(arguments) as client:
        definitions = client.definitions(arguments.vhost)
    text = json.dumps(definitions, indent=2) + "\n"
    if arguments.file == "-":
        sys.stdout.write(text)
        return Exit.OK
    # Beside the file and then in its place, so that it is never half of one. Password hashes are in it.
    fresh = path.with_name(path.name + ".new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    counts = {name: len(entries) for name, entries in definitions.items() if name in SECTIONS}
    print_object({"file": arguments.file, **counts}, arguments.output)
    return Exit.OK


def _import(arguments: argparse.Namespace) -> int:
    definitions = _read(arguments.file)
    with connect(arguments) as client:
        outcome = client.define(definitions, arguments.vhost)
    failed = outcome["failed"]
    if arguments.output == "table":
        rows = [
            {"list": name, "imported": count, "failed": sum(failure["section"] == name for failure in failed)}
            for name, count in outcome["imported"].items()
        ]
        print_rows(rows, ("list", "imported", "failed"), "table")
        for place in outcome["ignored"]:
            print(f"portask: ignored: {place}", file=sys.stderr)
        for failure in failed:
            place = f"{failure['section']}[{failure['number']}] {failure['name']}".rstrip()
            print(f"portask: not imported: {place}: {failure['error']}", file=sys.stderr)
    else:
        print_object(outcome, arguments.output)
    if failed:
        raise CommandError(f"{len(failed)} entries were not imported; correct them and import the file again")
    return Exit.OK


def _read(name: str) -> dict[str, Any]:
    data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    try:
        definitions = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CommandError(f"{name} is not JSON: {error}", Exit.USAGE) from error
    if not isinstance(definitions, dict):
        raise CommandError(f"{name} holds no definitions, which are a JSON object", Exit.USAGE)
    return definitions
