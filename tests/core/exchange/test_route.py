"""Routing: which queues a message comes to, by exchange type, through exchanges and past them."""

import pytest


@pytest.fixture
def exchange(host):
    """A function that declares a transient exchange."""
    return host.declare_exchange


@pytest.fixture
def bind(host):
    """A function that binds a queue."""
    return lambda source, queue, key="", arguments=None: host.bind(source, "queue", queue, key, arguments)


@pytest.fixture
def link(host):
    """A function that binds an exchange to another."""
    return lambda source, exchange, key="": host.bind(source, "exchange", exchange, key)


# -- types ------------------------------------------------------------------------------------------------------------


def test_the_default_exchange_leads_to_the_queue_of_that_name(queue, destinations):
    queue("q")
    queue("other")

    assert destinations("", "q") == ["q"]


def test_the_default_exchange_follows_all_keys(queue, destinations):
    queue("q")
    queue("copy")

    assert destinations("", "q", "copy", "nobody") == ["copy", "q"]


def test_a_direct_exchange_goes_by_the_key(queue, exchange, bind, destinations):
    queue("q")
    queue("other")
    exchange("x", "direct")
    bind("x", "q", "red")
    bind("x", "other", "blue")

    assert destinations("x", "red") == ["q"]
    assert destinations("x", "green") == []


def test_a_fanout_exchange_goes_to_all(queue, exchange, bind, destinations):
    queue("q")
    queue("other")
    exchange("x", "fanout")
    bind("x", "q", "red")
    bind("x", "other")

    assert destinations("x", "whatever") == ["other", "q"]


def test_a_topic_exchange_goes_by_patterns(queue, exchange, bind, destinations):
    queue("q")
    queue("other")
    exchange("x", "topic")
    bind("x", "q", "orders.*.created")
    bind("x", "other", "orders.#")

    assert destinations("x", "orders.eu.created") == ["other", "q"]
    assert destinations("x", "orders") == ["other"]


def test_a_queue_that_matches_more_than_once_gets_the_message_once(queue, exchange, bind, destinations):
    queue("q")
    exchange("x", "topic")
    bind("x", "q", "a.*")
    bind("x", "q", "#")

    assert destinations("x", "a.b", "a.c") == ["q"]


def test_a_binding_beside_its_equal_but_for_arguments_stays_when_that_one_goes(
    host, queue, exchange, bind, destinations
):
    queue("q")
    exchange("x", "direct")
    bind("x", "q", "k")
    bind("x", "q", "k", {"a": 1})
    host.unbind("x", "queue", "q", "k")

    assert destinations("x", "k") == ["q"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("amq.direct", "direct"),
        ("amq.fanout", "fanout"),
        ("amq.topic", "topic"),
        ("amq.headers", "headers"),
        ("amq.match", "headers"),
    ],
)
def test_the_predeclared_exchanges_are_there(host, name, kind):
    exchange = host.exchange(name)

    assert (exchange.type, exchange.durable, exchange.internal, exchange.auto_delete) == (kind, True, False, False)


def test_the_trace_exchange_is_internal(host):
    assert host.exchange("amq.rabbitmq.trace").internal


# -- through exchanges ------------------------------------------------------------------------------------------------


def test_a_message_goes_on_through_bound_exchanges_by_its_own_key(queue, exchange, bind, link, destinations):
    queue("q")
    exchange("x", "fanout")
    exchange("y", "direct")
    link("x", "y", "ignored")
    bind("y", "q", "k")

    assert destinations("x", "k") == ["q"]
    assert destinations("x", "ignored") == []


def test_circles_of_exchanges_end(queue, exchange, bind, link, destinations):
    queue("q")
    exchange("x", "fanout")
    exchange("y", "fanout")
    link("x", "y")
    link("y", "x")
    link("x", "x")
    bind("y", "q")

    assert destinations("x", "k") == ["q"]


def test_a_queue_reached_along_two_ways_gets_the_message_once(queue, exchange, bind, link, destinations):
    queue("q")
    exchange("x", "fanout")
    exchange("y", "fanout")
    link("x", "y")
    bind("x", "q")
    bind("y", "q")

    assert destinations("x", "k") == ["q"]


# -- past them --------------------------------------------------------------------------------------------------------


def test_what_matches_nothing_goes_to_the_alternate_exchange(queue, exchange, bind, destinations):
    queue("q")
    queue("rest")
    exchange("x", "direct", arguments={"alternate-exchange": "y"})
    exchange("y", "fanout")
    bind("x", "q", "k")
    bind("y", "rest")

    assert destinations("x", "k") == ["q"]
    assert destinations("x", "other") == ["rest"]


def test_an_alternate_exchange_that_does_not_exist_gets_nothing(exchange, destinations):
    exchange("x", "direct", arguments={"alternate-exchange": "nowhere"})

    assert destinations("x", "k") == []


def test_alternate_exchanges_in_a_circle_end(exchange, destinations):
    exchange("x", "direct", arguments={"alternate-exchange": "y"})
    exchange("y", "direct", arguments={"alternate-exchange": "x"})

    assert destinations("x", "k") == []


def test_an_exchange_in_the_middle_has_its_alternate_exchange_too(queue, exchange, bind, link, destinations):
    queue("rest")
    exchange("x", "fanout")
    exchange("y", "direct", arguments={"alternate-exchange": "z"})
    exchange("z", "fanout")
    link("x", "y")
    bind("z", "rest")

    assert destinations("x", "k") == ["rest"]


def test_the_alternate_exchange_gets_nothing_of_what_matched_but_ended(queue, exchange, bind, link, destinations):
    queue("rest")
    exchange("x", "fanout", arguments={"alternate-exchange": "z"})
    exchange("y", "direct")
    exchange("z", "fanout")
    link("x", "y")
    bind("z", "rest")

    assert destinations("x", "k") == []


def test_a_policy_names_the_alternate_exchange_where_the_arguments_do_not(host, queue, exchange, bind, destinations):
    queue("rest")
    exchange("z", "fanout")
    bind("z", "rest")
    exchange("x", "direct").policy = {"alternate-exchange": "z"}
    exchange("y", "direct", arguments={"alternate-exchange": "nowhere"}).policy = {"alternate-exchange": "z"}

    assert destinations("x", "k") == ["rest"]
    assert destinations("y", "k") == []


# -- what may be kept -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "arguments", "is_constant"),
    [
        ("direct", {}, True),
        ("fanout", {}, True),
        ("topic", {}, True),
        ("headers", {}, False),
        ("x-consistent-hash", {}, True),
        ("x-consistent-hash", {"hash-header": "h"}, False),
        ("x-delayed-message", {"x-delayed-type": "direct"}, False),
        ("x-message-deduplication", {"x-cache-size": 10}, False),
        ("direct", {"x-message-deduplication": True}, False),
    ],
)
def test_a_route_may_be_kept_when_nothing_but_the_key_decides(host, kind, arguments, is_constant):
    exchange = host.declare_exchange("x", kind, arguments=arguments)

    assert host.route(exchange, ("k",), b"").is_constant == is_constant


def test_a_route_may_not_be_kept_when_an_exchange_on_the_way_looks_at_headers(host, exchange, link):
    exchange("x", "fanout")
    exchange("y", "headers")
    link("x", "y")

    assert not host.route(host.exchange("x"), ("k",), b"").is_constant


def test_the_generation_changes_with_everything_that_routes_depend_on(host, exchange, queue, bind):
    seen = [host.generation]
    for change in (
        lambda: exchange("x", "direct"),
        lambda: queue("q"),
        lambda: bind("x", "q", "k"),
        lambda: host.unbind("x", "queue", "q", "k"),
        lambda: host.queues.delete(host.queues.find("q")),
        lambda: host.delete_exchange("x"),
    ):
        change()
        seen.append(host.generation)

    assert seen == sorted(set(seen))


def test_a_route_to_nobody_says_so(host, exchange):
    assert not host.route(exchange("x", "direct"), ("k",), b"").is_routed


# -- giving to all ----------------------------------------------------------------------------------------------------


def test_what_the_broker_publishes_comes_to_every_queue_once_and_is_answered_once(
    host, queue, exchange, bind, record, wait_until
):
    queues = [queue("q"), queue("other")]
    exchange("x", "fanout")
    bind("x", "q")
    bind("x", "other")
    answers = []

    assert host.publish(host.exchange("x"), ["k"], record(b"hello"), answers.append)
    wait_until(lambda: answers)
    assert answers == [None]
    assert [queue.ready for queue in queues] == [1, 1]


def test_what_is_routed_to_nobody_is_not_answered(host, exchange, record):
    answers = []

    assert not host.publish(exchange("x", "fanout"), ["k"], record(b"hello"), answers.append)
    assert answers == []
