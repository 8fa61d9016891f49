"""Queues with `x-message-deduplication`, and what becomes of a new message that could not be stored."""

import pytest

from portask.errors import PreconditionError, StorageFullError

HEADER = "x-deduplication-header"


@pytest.fixture(params=[True, False], ids=["durable", "transient"])
def unique(request, gated_host):
    """A function that declares a deduplicating queue."""

    def declare(**arguments):
        arguments = {"x-message-deduplication": True, **arguments}
        return gated_host.queues.declare("q", durable=request.param, arguments=arguments)

    return declare


@pytest.fixture
def publish(gated_host, record, wait_until):
    """A function that publishes records with these ids to queue q and returns what it answered."""

    def send(*ids, exchange="", **headers):
        answers = []
        records = [record(b"body", headers={**headers, **({HEADER: id_} if id_ else {})}) for id_ in ids]
        route = gated_host.route(gated_host.exchange(exchange), ("q",), records[0][4][1:])
        for destination in route.destinations:
            destination.publish(records, 100, answers.append)
        wait_until(lambda: len(answers) == len(route.destinations))
        return answers

    return send


def test_a_queue_takes_each_message_once(unique, publish):
    queue = unique()
    answers = [publish("a", "b", "a"), publish("b"), publish("c")]

    assert answers == [[None]] * 3
    assert queue.ready == 3


def test_a_queue_takes_every_message_without_the_header(unique, publish):
    queue = unique()
    publish(None, None)

    assert queue.ready == 2


def test_a_queue_forgets_when_the_time_is_over(unique, publish, clock):
    queue = unique(**{"x-cache-ttl": 1000})
    publish("a")
    clock.advance(1)
    publish("a")

    assert queue.ready == 2


def test_a_queue_forgets_the_oldest(unique, publish):
    queue = unique(**{"x-cache-size": 1})
    for id_ in "aba":
        publish(id_)

    assert queue.ready == 3


def test_a_message_that_a_queue_could_not_store_is_taken_when_it_comes_again(gated_host, publish, storage):
    queue = gated_host.queues.declare("q", durable=True, arguments={"x-message-deduplication": True})
    storage.refuses = True
    refused = publish("a")
    storage.refuses = False
    publish("a")

    assert isinstance(refused[0], StorageFullError)
    assert queue.ready == 1


@pytest.mark.parametrize("arguments", [{"x-cache-size": 0}, {"x-cache-ttl": "long"}, {HEADER: 5}])
def test_arguments_that_cannot_be_are_refused(unique, arguments):
    with pytest.raises(PreconditionError):
        unique(**arguments)


def test_a_message_that_came_through_a_deduplicating_exchange_and_was_not_stored_is_new_again(
    gated_host, publish, storage
):
    queue = gated_host.queues.declare("q", durable=True)
    gated_host.declare_exchange("x", "x-message-deduplication", arguments={"x-cache-size": 10})
    gated_host.bind("x", "queue", "q", "")
    storage.refuses = True
    refused = publish("a", exchange="x")
    storage.refuses = False
    answers = [publish("a", exchange="x"), publish("a", exchange="x")]

    assert isinstance(refused[0], StorageFullError)
    assert answers == [[None], []]
    assert queue.ready == 1


def test_refused_arguments_leave_nothing_behind(gated_host, storage):
    with pytest.raises(PreconditionError):
        gated_host.queues.declare("q", durable=True, arguments={"x-message-deduplication": True, HEADER: 5})

    assert storage.load("queues") == {}
