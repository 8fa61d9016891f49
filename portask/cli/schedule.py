"""`portask schedule`: list and cancel delayed messages, which an exchange of type `x-delayed-message` keeps back."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from portask.cli.command import add_actions, add_server
from portask.cli.connect import connect
from portask.cli.outcome import CommandError, Exit
from portask.cli.output import add_output, print_object, print_rows
from portask.cli.progress import progress
from portask.client.wire import ClientError

if TYPE_CHECKING:
    from portask.client import Client

EXAMPLE = "portask schedule ls --count 20"
PAGE_MESSAGES = 2000
COUNT = 1000


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the actions."""
    add = add_actions(parser)

    action = add("ls", "list messages that wait, about in the order in which they are due", EXAMPLE, _list)
    action.add_argument("--count", metavar="N", type=int, default=COUNT, help=f"end after so many; 0: all ({COUNT})")
    action.add_argument("--after", metavar="ID", default="", help="go on behind the message with this id")
    add_output(action)
    add_server(action)

    action = add("rm", "cancel messages, so that they are never delivered", "portask schedule rm ID", _remove)
    action.add_argument("ids", metavar="ID", nargs="+", help="as 'portask schedule ls' shows it")
    add_output(action)
    add_server(action)


def _list(arguments: argparse.Namespace) -> int:
    if arguments.count < 0:
        raise CommandError("--count must be at least 0", Exit.USAGE)
    with connect(arguments) as client:
        waiting = client.info()["scheduled"]
        total = min(waiting, arguments.count or waiting)
        with progress("listing", total) as advance:
            messages = _messages(client, arguments.after, arguments.count, advance)
            if arguments.output == "table":
                columns = ("due", "virtual_host", "exchange", "routing_key", "size_bytes", "id")
                rows = [_row(message) for message in messages]
            else:
                print_rows(messages, (), arguments.output)
                return Exit.OK
        print_rows(rows, columns, "table")
        if rows and len(rows) == arguments.count and client.scheduled(rows[-1]["id"], 1):
            print(f"portask: more follow; go on with --after {rows[-1]['id']}", file=sys.stderr)
    return Exit.OK


def _messages(client: Client, after: str, count: int, advance: Any) -> Iterator[dict[str, Any]]:
    """The messages, page by page; *count* 0: all."""
    listed = 0
    while page := client.scheduled(after, min(PAGE_MESSAGES, count - listed) if count else PAGE_MESSAGES):
        yield from page
        after = page[-1]["id"]
        listed += len(page)
        advance(listed)
        if listed == count:
            return


def _row(message: dict[str, Any]) -> dict[str, Any]:
    return {
        **{name: value for name, value in message.items() if name not in ("due_ms", "routing_keys")},
        "due": _time(message["due_ms"]),
        "routing_key": ", ".join(message["routing_keys"]),
    }


def _time(due_ms: int) -> str:
    """A time as people read it; far beyond what a calendar has, the number."""
    try:
        return datetime.fromtimestamp(due_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    except (ValueError, OverflowError, OSError):
        return str(due_ms)


def _remove(arguments: argparse.Namespace) -> int:
    missing = []
    with connect(arguments) as client:
        for message_id in arguments.ids:
            try:
                client.cancel_scheduled(message_id)
            except ClientError as error:
                if error.code != "NOT_FOUND":
                    raise
                missing.append(message_id)
                continue
            if arguments.output != "table":
                print_object({"cancelled": message_id}, arguments.output)
    if missing:
        raise CommandError(
            f"no delayed message {', '.join(missing)} waits: fired, cancelled, or never there;"
            " 'portask schedule ls' shows those that do",
            Exit.NOT_FOUND,
        )
    return Exit.OK
