"""Deduplication: a message that has been here before goes no further."""

import pytest

from portask.clock import ManualClock
from portask.errors import PreconditionError
from portask.exchanges.deduplication import Deduplication

HEADER = "x-deduplication-header"


@pytest.fixture
def exchange(host, queue):
    """A function that declares a deduplicating exchange with a queue on it."""

    def make(kind="x-message-deduplication", **arguments):
        host.declare_exchange("x", kind, arguments={"x-cache-size": 10, **arguments})
        queue("q")
        host.bind("x", "queue", "q", "")

    return make


def test_a_message_goes_through_once(exchange, destinations):
    exchange()

    assert [destinations("x", headers={HEADER: "one"}) for _ in range(3)] == [["q"], [], []]


def test_what_differs_goes_through(exchange, destinations):
    exchange()

    assert [destinations("x", headers={HEADER: value}) for value in ("one", "two", 1)] == [["q"]] * 3


def test_a_message_without_the_header_always_goes_through(exchange, destinations):
    exchange()

    assert [destinations("x", headers={"other": 1}) for _ in range(2)] == [["q"], ["q"]]


def test_the_exchange_type_is_a_fanout(exchange, destinations):
    exchange()

    assert destinations("x", "any key", headers={HEADER: 1}) == ["q"]


def test_an_exchange_of_any_type_can_have_it_by_argument(exchange, destinations):
    exchange("direct", **{"x-message-deduplication": True})

    assert [destinations("x", "", headers={HEADER: 1}) for _ in range(2)] == [["q"], []]
    assert destinations("x", "unbound", headers={HEADER: 2}) == []


def test_a_duplicate_goes_to_no_alternate_exchange(host, queue, exchange, destinations):
    exchange(**{"alternate-exchange": "amq.fanout"})
    queue("rest")
    host.bind("amq.fanout", "queue", "rest", "")

    assert [destinations("x", headers={HEADER: 1}) for _ in range(2)] == [["q"], []]


def test_it_is_new_again_when_its_time_is_over(exchange, destinations, clock):
    exchange(**{"x-cache-ttl": 1000})
    destinations("x", headers={HEADER: 1})
    clock.advance(0.999)
    within = destinations("x", headers={HEADER: 1})
    clock.advance(0.001)

    assert (within, destinations("x", headers={HEADER: 1})) == ([], ["q"])


def test_a_message_can_say_for_how_long_it_is_known(exchange, destinations, clock):
    exchange(**{"x-cache-ttl": 1000})
    destinations("x", headers={HEADER: 1, "x-cache-ttl": 5000})
    clock.advance(4)

    assert destinations("x", headers={HEADER: 1}) == []


def test_the_oldest_is_forgotten_when_there_are_too_many(exchange, destinations):
    exchange(**{"x-cache-size": 2})
    for value in (1, 2, 3):
        destinations("x", headers={HEADER: value})

    assert [destinations("x", headers={HEADER: value}) for value in (3, 2, 1)] == [[], [], ["q"]]


def test_another_header_can_be_the_one(exchange, destinations):
    exchange(**{HEADER: "id"})

    assert [destinations("x", headers={"id": 1}) for _ in range(2)] == [["q"], []]


@pytest.mark.parametrize("value", [True, 1.5, b"bytes", [1, {"a": 2}], {"b": [1]}])
def test_values_of_any_type_are_known_again(exchange, destinations, value):
    exchange()

    assert [destinations("x", headers={HEADER: value}) for _ in range(2)] == [["q"], []]


def test_what_is_forgotten_is_new_again():
    deduplication = Deduplication({}, ManualClock())
    deduplication.admit({HEADER: 1})
    deduplication.forget({HEADER: 1})
    deduplication.forget({HEADER: "never seen"})
    deduplication.forget({})

    assert deduplication.admit({HEADER: 1})
    assert len(deduplication) == 1


def test_duplicates_are_counted():
    deduplication = Deduplication({}, ManualClock())
    for _ in range(3):
        deduplication.admit({HEADER: 1})

    assert deduplication.duplicates == 2


def test_after_a_restart_each_message_is_new(reopen):
    host = reopen()
    host.declare_exchange("x", "x-message-deduplication", durable=True, arguments={"x-cache-size": 5})
    host.exchange("x").deduplication.admit({HEADER: 1})

    assert reopen().exchange("x").deduplication.admit({HEADER: 1})


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({}, "Missing argument, 'x-cache-size' is required"),
        ({"x-cache-size": 0}, "invalid arg 'x-cache-size': it must be a number above 0, not 0"),
        ({"x-cache-size": "many"}, "invalid arg 'x-cache-size': it must be a number above 0, not 'many'"),
        ({"x-cache-size": 1, "x-cache-ttl": -1}, "invalid arg 'x-cache-ttl': it must be a number above 0, not -1"),
        ({"x-cache-size": 1, HEADER: 5}, f"{HEADER} must be the name of a header, not 5"),
    ],
)
def test_arguments_that_cannot_be_are_refused(host, arguments, text):
    with pytest.raises(PreconditionError) as refusal:
        host.declare_exchange("x", "x-message-deduplication", arguments=arguments)
    assert str(refusal.value) == text
