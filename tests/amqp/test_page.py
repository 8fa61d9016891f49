"""docs/amqp.md names what is served."""

import re
from pathlib import Path

import pytest

from handlers.amqp.handshake import CAPABILITIES, VERSION
from handlers.amqp.methods import METHODS
from handlers.amqp.served import CHANNEL_METHODS, CONNECTION_METHODS
from portask.definitions.policy_keys import KEYS
from portask.exchanges.exchange_type import DELAYED, TYPES
from portask.queues.arguments import ARGUMENTS
from portask.virtual_host import PREDECLARED

PAGE = (Path(__file__).parents[2] / "docs" / "amqp.md").read_text()
ELSEWHERE = {(10, 11), (10, 31), (10, 40), (10, 50), (60, 40), (60, 80)}
"""Methods that have no place in the tables: those of the handshake, and those that have paths of their own."""


def rows(head):
    """The cells of the table whose head begins so, row by row."""
    table = PAGE.partition(f"\n| {head} |")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]


def test_every_method_is_named():
    named = {
        f"{class_name}.{method}"
        for class_name, methods in rows("class")
        for method in re.findall(r"`([a-z-]+)`", methods)
    }

    served = {METHODS[ids].name for ids in CHANNEL_METHODS.keys() | CONNECTION_METHODS.keys() | ELSEWHERE}

    assert named == served


def test_every_argument_of_queues_is_in_its_columns():
    shown = {
        name: tuple(kind for kind, cell in zip(("classic", "quorum", "stream"), cells[1:4], strict=True) if cell)
        for cells in rows("argument | classic | quorum | stream |")
        for name in re.findall(r"`(x-[a-z-]+)`", cells[0])
    }
    unshown = {name for name in ARGUMENTS if name not in shown}

    assert shown == {name: ARGUMENTS[name].types for name in shown}
    assert {name for name in unshown if f"`{name}`" not in PAGE or ARGUMENTS[name].field is not None} == set()


def test_every_type_of_exchange_is_named():
    named = [name for cells in rows("type | bindings") for name in re.findall(r"`([a-z-]+)`", cells[0])]

    assert sorted(named) == sorted([*TYPES, DELAYED])


@pytest.mark.parametrize("name", [*filter(None, PREDECLARED), *CAPABILITIES, VERSION])
def test_what_clients_are_told_is_named(name):
    assert f"`{name}`" in PAGE


def test_every_policy_key_is_known_and_marked_for_operators():
    shown = {name: bool(cells[3]) for cells in rows("policy key") for name in re.findall(r"`([a-z-]+)`", cells[0])}

    assert shown == {name: KEYS[name].operator for name in shown}
