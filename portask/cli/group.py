"""`portask group`: list, show and remove subscriptions."""

from __future__ import annotations

import argparse

from portask.cli.command import add_actions, add_server
from portask.cli.connect import connect
from portask.cli.outcome import Exit
from portask.cli.output import add_output, print_object, print_rows

EXAMPLE = "portask group ls orders"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the actions."""
    add = add_actions(parser)

    action = add("ls", "list the groups of one topic or of all", EXAMPLE, _list)
    action.add_argument("topic", metavar="TOPIC", nargs="?")
    add_output(action)
    add_server(action)

    action = add("show", "show one group, partition by partition", "portask group show orders default", _show)
    _add_group(action)
    add_output(action)
    add_server(action)

    action = add("rm", "remove a group with its position", "portask group rm orders default", _remove)
    _add_group(action)
    add_output(action)
    add_server(action)


def _add_group(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("topic", metavar="TOPIC")
    parser.add_argument("group", metavar="GROUP")


def _list(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        groups = client.groups(arguments.topic)
    print_rows(groups, ("topic", "name", "consumers", "lag", "in_flight", "requeued"), arguments.output)
    return Exit.OK


def _show(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        group = client.group(arguments.topic, arguments.group)
    if arguments.output != "table":
        print_object(group, arguments.output)
        return Exit.OK
    partitions = group.pop("partitions", [])
    print_object(group, "table")
    print()
    columns = ("partition", "floor", "next", "settled_beyond_floor", "in_flight", "requeued", "lag")
    print_rows(partitions, columns, "table")
    return Exit.OK


def _remove(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        client.drop_group(arguments.topic, arguments.group)
    if arguments.output != "table":
        print_object({"topic": arguments.topic, "removed": arguments.group}, arguments.output)
    return Exit.OK
