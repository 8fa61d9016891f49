"""Deduplication: a message that has been here before goes no further."""

import tracemalloc

import pytest
from gevent.event import AsyncResult

from portask.clock import ManualClock
from portask.errors import PreconditionError, StorageFullError
from portask.exchanges.deduplication import Deduplication
from portask.exchanges.original import Original

HEADER = "x-deduplication-header"


def stored(deduplication, value):
    """Have a message with *value* stored."""
    original = Original()
    assert deduplication.admit({HEADER: value}, original)
    original.expect()
    original.answer(None)


@pytest.fixture
def exchange(host, queue):
    """A function that declares a deduplicating exchange with a queue on it."""

    def make(kind="x-message-deduplication", **arguments):
        host.declare_exchange("x", kind, arguments={"x-cache-size": 10, **arguments})
        queue("q")
        host.bind("x", "queue", "q", "")

    return make


@pytest.fixture
def publish(host):
    """A function that publishes a record to exchange x and waits until it is stored, if it goes anywhere."""

    def send(record):
        answer = AsyncResult()
        if host.publish(host.exchange("x"), ("",), record, answer.set):
            assert answer.get(timeout=5) is None

    return send


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


def test_what_goes_to_nobody_is_not_known(host, queue, destinations):
    host.declare_exchange("x", "x-message-deduplication", arguments={"x-cache-size": 10})
    unbound = destinations("x", headers={HEADER: 1})
    queue("q")
    host.bind("x", "queue", "q", "")

    assert (unbound, destinations("x", headers={HEADER: 1})) == ([], ["q"])


def test_what_its_time_has_made_new_takes_no_room(clock):
    deduplication = Deduplication({"x-cache-ttl": 1000}, clock)
    for value in range(10):
        deduplication.admit({HEADER: value}, Original())
    clock.advance(1)
    deduplication.admit({HEADER: "later"}, Original())

    assert len(deduplication) == 1


def test_long_values_are_known_by_less():
    deduplication = Deduplication({}, ManualClock())
    tracemalloc.start()
    try:
        for number in range(100):
            stored(deduplication, f"{number} {'x' * 100_000}")
        held_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert len(deduplication) == 100
    assert held_bytes < 100_000


@pytest.mark.parametrize("length", [31, 32, 100])
def test_values_that_differ_at_their_end_are_different(length):
    deduplication = Deduplication({}, ManualClock())

    assert [deduplication.admit({HEADER: "x" * length + end}, Original()) for end in ("a", "b", "a")] == [
        True,
        True,
        False,
    ]


def test_an_array_is_not_the_text_that_spells_it():
    deduplication = Deduplication({}, ManualClock())

    assert [deduplication.admit({HEADER: value}, Original()) for value in ([1], "[1]", b"[1]")] == [True, True, False]


def test_a_delayed_message_that_is_known_since_it_came_goes_on_when_it_is_due(
    host, queue, publish, record, clock, wait_until
):
    arguments = {"x-delayed-type": "fanout", "x-message-deduplication": True}
    host.declare_exchange("x", "x-delayed-message", arguments=arguments)
    found = queue("q")
    host.bind("x", "queue", "q", "")
    for _ in range(2):
        publish(record(b"later", exchange="x", headers={HEADER: 1, "x-delay": 1000}))
    clock.advance(1)
    host._broker.schedule.wake()
    wait_until(lambda: host._broker.schedule.fired_total)

    assert found.ready == 1


def test_what_is_not_stored_everywhere_is_new_again():
    deduplication = Deduplication({}, ManualClock())
    original = Original()
    deduplication.admit({HEADER: 1}, original)
    original.expect()
    original.expect()
    original.answer(StorageFullError("no space"))
    original.answer(None)

    assert deduplication.admit({HEADER: 1}, Original())
    assert len(deduplication) == 1


def test_a_message_that_has_taken_the_place_of_one_that_is_not_stored_stays_known(clock):
    deduplication = Deduplication({"x-cache-ttl": 1000}, clock)
    original = Original()
    deduplication.admit({HEADER: 1}, original)
    original.expect()
    clock.advance(1)
    deduplication.admit({HEADER: 1}, Original())
    original.answer(StorageFullError("no space"))

    assert not deduplication.admit({HEADER: 1}, Original())


def test_nothing_is_kept_of_an_original_that_is_stored():
    deduplication = Deduplication({}, ManualClock())
    stored(deduplication, 1)
    repetition = Original()

    assert not deduplication.admit({HEADER: 1}, repetition)
    assert repetition.repeats == []


def test_duplicates_are_counted():
    deduplication = Deduplication({}, ManualClock())
    for _ in range(3):
        deduplication.admit({HEADER: 1}, Original())

    assert deduplication.duplicates == 2


def test_after_a_restart_each_message_is_new(reopen):
    host = reopen()
    host.declare_exchange("x", "x-message-deduplication", durable=True, arguments={"x-cache-size": 5})
    host.exchange("x").deduplication.admit({HEADER: 1}, Original())

    assert reopen().exchange("x").deduplication.admit({HEADER: 1}, Original())


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
