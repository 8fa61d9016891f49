"""The consistent-hash exchange: one of the bound for each message, in the shares of their weights."""

from collections import Counter

import pytest

from portask.errors import PreconditionError
from portask.exchanges.consistent_hash import jump


@pytest.fixture
def bound(host, queue):
    """A function that declares an exchange of these arguments and queues of these weights on it."""

    def make(weights, arguments=None):
        host.declare_exchange("x", "x-consistent-hash", arguments=arguments)
        for name, weight in weights.items():
            queue(name)
            host.bind("x", "queue", name, str(weight))

    return make


ALGORITHMS = pytest.mark.parametrize("arguments", [{}, {"x-algorithm": "jump"}, {"x-algorithm": "ring"}])


def spread(destinations, count=3000):
    return {str(number): destinations("x", str(number)) for number in range(count)}


@ALGORITHMS
def test_a_message_goes_to_exactly_one(bound, destinations, arguments):
    bound({"a": 1, "b": 1, "c": 2}, arguments)

    assert {len(found) for found in spread(destinations).values()} == {1}


@ALGORITHMS
def test_the_same_key_goes_to_the_same_queue(bound, destinations, arguments):
    bound({"a": 1, "b": 1}, arguments)

    assert spread(destinations) == spread(destinations)


@ALGORITHMS
def test_the_weight_is_the_share(bound, destinations, arguments):
    bound({"a": 1, "b": 3}, arguments)
    counts = Counter(found[0] for found in spread(destinations).values())

    assert 2 < counts["b"] / counts["a"] < 4.5


@ALGORITHMS
def test_a_queue_that_comes_takes_its_messages_from_the_others_and_moves_none_between_them(
    host, queue, bound, destinations, arguments
):
    bound({"a": 1, "b": 1}, arguments)
    before = spread(destinations)
    queue("c")
    host.bind("x", "queue", "c", "1")

    moved = {key: found for key, found in spread(destinations).items() if found != before[key]}
    assert set(map(tuple, moved.values())) == {("c",)}


def test_on_a_ring_a_queue_that_goes_moves_only_its_own_messages(host, bound, destinations):
    bound({"a": 1, "b": 1, "c": 1}, {"x-algorithm": "ring"})
    before = spread(destinations)
    host.unbind("x", "queue", "a", "1")

    after = spread(destinations)
    assert {key for key in before if before[key] != after[key]} == {key for key in before if before[key] == ["a"]}


@pytest.mark.parametrize("argument", ["hash-header", "x-hash-on"])
def test_a_header_can_be_hashed_in_place_of_the_key(bound, destinations, argument):
    bound({"a": 1, "b": 1}, {argument: "customer"})
    by_header = {tuple(destinations("x", str(key), headers={"customer": 7})) for key in range(50)}
    spread_out = {tuple(destinations("x", "k", headers={"customer": number})) for number in range(50)}

    assert len(by_header) == 1
    assert spread_out == {("a",), ("b",)}


@pytest.mark.parametrize(
    ("name", "values"),
    [("correlation_id", map(str, range(50))), ("message_id", map(str, range(50))), ("timestamp", range(50))],
)
def test_a_property_can_be_hashed_in_place_of_the_key(bound, destinations, name, values):
    bound({"a": 1, "b": 1}, {"hash-property": name})
    spread_out = {tuple(destinations("x", "k", **{name: value})) for value in values}

    assert spread_out == {("a",), ("b",)}


def test_messages_without_the_hashed_header_go_to_one_queue(bound, destinations):
    bound({"a": 1, "b": 1}, {"hash-header": "customer"})

    assert len({tuple(destinations("x", str(key))) for key in range(50)}) == 1


def test_without_bindings_nobody_gets_it(bound, destinations):
    bound({})

    assert destinations("x", "k") == []


def test_the_jump_hash_is_the_published_one():
    # "A Fast, Minimal Memory, Consistent Hash Algorithm", computed with the paper's C function.
    assert [jump(key, 1000) for key in (0, 1, 0xDEADBEEF, 2**64 - 1)] == [0, 549, 285, 313]


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("", "The binding key must be an integer: ''"),
        ("heavy", "The binding key must be an integer: 'heavy'"),
        ("0", "The binding key must be greater than 0"),
        ("-3", "The binding key must be greater than 0"),
        ("1000001", "The binding key must not be greater than 1000000"),
    ],
)
def test_a_binding_key_that_is_no_weight_is_refused(bound, host, queue, key, text):
    bound({})
    queue("q")

    with pytest.raises(PreconditionError) as refusal:
        host.bind("x", "queue", "q", key)
    assert str(refusal.value) == text


def test_a_ring_takes_smaller_weights(bound, host, queue):
    bound({"a": 100}, {"x-algorithm": "ring"})

    with pytest.raises(PreconditionError, match="must not be greater than 100"):
        host.bind("x", "queue", "a", "101")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"hash-header": "h", "hash-property": "message_id"}, "hash-header and hash-property are mutually exclusive"),
        ({"hash-property": "app_id"}, "Unsupported property: app_id"),
        ({"hash-header": 5}, "hash-header must be the name of a header, not 5"),
        ({"x-algorithm": "rendezvous"}, "x-algorithm must be jump or ring, not 'rendezvous'"),
        ({"x-algorithm": ["ring"]}, "x-algorithm must be jump or ring, not ['ring']"),
    ],
)
def test_arguments_that_cannot_be_are_refused(host, arguments, text):
    with pytest.raises(PreconditionError) as refusal:
        host.declare_exchange("x", "x-consistent-hash", arguments=arguments)
    assert str(refusal.value) == text
