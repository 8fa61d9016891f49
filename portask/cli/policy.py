"""`portask policy`: list, set and remove policies, arguments for queues and exchanges by pattern of their names."""

from __future__ import annotations

import argparse
import json
from typing import Any

from portask.cli.command import add_actions, add_server
from portask.cli.connect import connect
from portask.cli.outcome import CommandError, Exit
from portask.cli.output import add_output, print_object, print_rows

EXAMPLE = "portask policy set short '^temporary' '{\"message-ttl\": 60000}'"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the actions."""
    add = add_actions(parser)

    action = add("ls", "list policies", "portask policy ls --output jsonl", _list)
    add_output(action)
    add_server(action)

    action = add("set", "make a policy or replace one", EXAMPLE, _set)
    action.add_argument("name", metavar="NAME")
    action.add_argument("pattern", metavar="PATTERN", help="a regular expression; found anywhere in a name")
    action.add_argument("definition", metavar="JSON", help="what it says, such as '{\"max-length\": 1000}'")
    action.add_argument("--priority", metavar="N", type=int, default=0, help="the highest one counts (0)")
    action.add_argument("--apply-to", metavar="KIND", default="all", help="queues, exchanges, streams, ... (all)")
    _add_place(action)

    action = add("rm", "remove a policy", "portask policy rm short", _remove)
    action.add_argument("name", metavar="NAME")
    _add_place(action)


def _add_place(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--vhost", metavar="NAME", default="/", help="its virtual host (/)")
    parser.add_argument("--operator", action="store_true", help="an operator policy, which limits what others say")
    add_output(parser)
    add_server(parser)


def _list(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        policies = client.policies()
    columns = ("vhost", "name", "kind", "pattern", "apply-to", "priority", "definition")
    print_rows(policies, columns, arguments.output)
    return Exit.OK


def _set(arguments: argparse.Namespace) -> int:
    try:
        definition = json.loads(arguments.definition)
    except ValueError as error:
        raise CommandError(f"{arguments.definition!r} is not JSON: {error}", Exit.USAGE) from error
    says = {
        "pattern": arguments.pattern,
        "definition": definition,
        "priority": arguments.priority,
        "apply-to": arguments.apply_to,
    }
    place = {"vhost": arguments.vhost, "name": arguments.name}
    definitions: dict[str, Any] = {"policies": [{**place, **says}]}
    if arguments.operator:
        definitions = {"parameters": [{**place, "component": "operator_policy", "value": says}]}
    with connect(arguments) as client:
        outcome = client.define(definitions)
    for failure in outcome["failed"]:
        raise CommandError(f"policy {arguments.name}: {failure['error']}", Exit.USAGE)
    if arguments.output != "table":
        print_object({**place, **says}, arguments.output)
    return Exit.OK


def _remove(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        client.drop_policy(arguments.name, arguments.vhost, "operator" if arguments.operator else "policy")
    if arguments.output != "table":
        print_object({"vhost": arguments.vhost, "removed": arguments.name}, arguments.output)
    return Exit.OK
