"""`portask topic`: list, create, show, alter and remove topics."""

from __future__ import annotations

import argparse
from typing import Any

from portask.cli.command import add_actions, add_server
from portask.cli.connect import connect
from portask.cli.outcome import CommandError, Exit
from portask.cli.output import Format, add_output, print_object, print_rows

EXAMPLE = "portask topic create orders --partitions 4 --set retention_ms=86400000"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the actions."""
    add = add_actions(parser)

    action = add("ls", "list topics", "portask topic ls --output jsonl", _list)
    action.add_argument("names", metavar="TOPIC", nargs="*", help="only these")
    _add_common(action)

    action = add("create", "create a topic", EXAMPLE, _create)
    action.add_argument("topic", metavar="TOPIC")
    action.add_argument("--partitions", metavar="N", type=int, help="number of partitions (the broker's default)")
    _add_settings(action, "a setting of the topic, such as retention_ms=86400000; may be repeated")
    _add_common(action)

    action = add("show", "show one topic", "portask topic show orders", _show)
    action.add_argument("topic", metavar="TOPIC")
    _add_common(action)

    action = add("alter", "change settings of a topic", "portask topic alter orders --set zstd_level=9", _alter)
    action.add_argument("topic", metavar="TOPIC")
    _add_settings(action, "a new value; NAME= alone goes back to the broker's default; may be repeated", required=True)
    _add_common(action)

    action = add("rm", "remove topics with all their messages and subscriptions", "portask topic rm orders", _remove)
    action.add_argument("topics", metavar="TOPIC", nargs="+")
    _add_common(action)


def _add_settings(parser: argparse.ArgumentParser, text: str, *, required: bool = False) -> None:
    parser.add_argument(
        "--set", metavar="NAME=VALUE", dest="settings", action="append", default=[], help=text, required=required
    )


def _add_common(parser: argparse.ArgumentParser) -> None:
    add_output(parser)
    add_server(parser)


def _list(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        topics = client.topics()
    if missing := set(arguments.names) - {topic["name"] for topic in topics}:
        raise CommandError(f"there is no topic {min(missing)}; 'portask topic ls' shows all", Exit.NOT_FOUND)
    if arguments.names:
        topics = [topic for topic in topics if topic["name"] in arguments.names]
    if arguments.output == "table":
        topics = [{**topic, "partitions": len(topic["partitions"]), "messages": _messages(topic)} for topic in topics]
    print_rows(topics, ("name", "partitions", "messages", "groups", "settings"), arguments.output)
    return Exit.OK


def _create(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        client.create_topic(arguments.topic, arguments.partitions, _settings(arguments.settings))
        _print(client.topic(arguments.topic), arguments.output)
    return Exit.OK


def _show(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        _print(client.topic(arguments.topic), arguments.output)
    return Exit.OK


def _alter(arguments: argparse.Namespace) -> int:
    changes = {name: value or None for name, value in _settings(arguments.settings).items()}
    with connect(arguments) as client:
        client.alter_topic(arguments.topic, changes)
        _print(client.topic(arguments.topic), arguments.output)
    return Exit.OK


def _remove(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        for topic in arguments.topics:
            client.delete_topic(topic)
            if arguments.output != "table":
                print_object({"removed": topic}, arguments.output)
    return Exit.OK


def _print(topic: dict[str, Any], form: Format) -> None:
    if form != "table":
        print_object(topic, form)
        return
    partitions = topic.pop("partitions")
    print_object(topic, form)
    print()
    for partition in partitions:
        partition["messages"] = partition["high_watermark"] - partition["log_start_offset"]
    print_rows(partitions, ("partition", "log_start_offset", "high_watermark", "messages"), form)


def _messages(topic: dict[str, Any]) -> int:
    return sum(partition["high_watermark"] - partition["log_start_offset"] for partition in topic["partitions"])


def _settings(pairs: list[str]) -> dict[str, str]:
    settings = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (equals and name):
            raise CommandError(f"--set {pair!r} is not NAME=VALUE", Exit.USAGE)
        settings[name] = value
    return settings
