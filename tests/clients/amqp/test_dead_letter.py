"""Dead letters: where they go, and what x-death says of them."""

from datetime import UTC, datetime

import pytest

from tests.clients.amqp.session import Consumer, channel_refused, drain, eventually, get, poll, publish, ready

SOON = 50


@pytest.fixture
def dead(declare):
    """The queue of dead letters."""
    return declare()


@pytest.fixture
def orders(declare, dead):
    """A queue whose dead letters go to `dead`."""
    return declare(dead_letter_exchange="", dead_letter_routing_key=dead)


def reject(channel, queue):
    """Reject the next message."""
    channel.basic_reject(get(channel, queue).tag, requeue=False)


def death(delivery):
    """The newest x-death entry without its time."""
    return {field: value for field, value in delivery.headers["x-death"][0].items() if field != "time"}


@pytest.mark.parametrize("settle", ["basic_reject", "basic_nack"])
def test_rejected_message_is_dead_lettered(channel, publisher, orders, dead, settle):
    publish(publisher, orders, b"hello")
    getattr(channel, settle)(get(channel, orders).tag, requeue=False)

    delivery = get(channel, dead)
    assert delivery.body == b"hello"
    assert death(delivery) == {
        "count": 1,
        "reason": "rejected",
        "queue": orders,
        "exchange": "",
        "routing-keys": [orders],
    }


def test_expired_message_is_dead_lettered(channel, publisher, declare, dead):
    orders = declare(dead_letter_exchange="", dead_letter_routing_key=dead, message_ttl=SOON)
    publish(publisher, orders, b"hello")

    assert death(get(channel, dead))["reason"] == "expired"


def test_message_that_a_full_queue_drops_is_dead_lettered(channel, publisher, declare, dead):
    orders = declare(dead_letter_exchange="", dead_letter_routing_key=dead, max_length=1)
    publish(publisher, orders, b"one", b"two")
    delivery = get(channel, dead)

    assert (delivery.body, death(delivery)["reason"]) == (b"one", "maxlen")


def test_message_delivered_too_often_is_dead_lettered(channel, publisher, declare, dead):
    orders = declare(dead_letter_exchange="", dead_letter_routing_key=dead, queue_type="quorum", delivery_limit=2)
    publish(publisher, orders, b"hello")
    for _ in range(3):
        channel.basic_reject(get(channel, orders).tag, requeue=True)

    assert death(get(channel, dead))["reason"] == "delivery_limit"


def test_time_of_death_is_now(channel, publisher, orders, dead):
    publish(publisher, orders, b"hello")
    reject(channel, orders)
    time = get(channel, dead).headers["x-death"][0]["time"]
    now = datetime.now(UTC).replace(tzinfo=time.tzinfo)

    assert abs((now - time).total_seconds()) < 60


def test_first_death_is_told(channel, publisher, orders, dead):
    publish(publisher, orders, b"hello")
    reject(channel, orders)
    headers = get(channel, dead).headers

    assert headers["x-first-death-reason"] == "rejected"
    assert headers["x-first-death-queue"] == orders
    assert headers["x-first-death-exchange"] == ""


@pytest.mark.peer_differs("3.10 tells only the first")
def test_last_death_is_told(channel, publisher, orders, dead):
    publish(publisher, orders, b"hello")
    reject(channel, orders)
    headers = get(channel, dead).headers

    assert headers["x-last-death-reason"] == "rejected"
    assert headers["x-last-death-queue"] == orders
    assert headers["x-last-death-exchange"] == ""


def test_without_a_key_the_message_keeps_its_own(channel, publisher, declare, dead, name):
    exchange = name("exchange")
    channel.exchange_declare(exchange, "direct")
    orders = declare(dead_letter_exchange=exchange)
    channel.queue_bind(dead, exchange, orders)
    publish(publisher, orders, b"hello")
    reject(channel, orders)
    delivery = get(channel, dead)

    assert (delivery.method.exchange, delivery.method.routing_key) == (exchange, orders)


def test_properties_and_headers_stay(channel, publisher, orders, dead):
    publish(publisher, orders, b"hello", message_id="m-1", delivery_mode=2, headers={"trace": "abc"})
    reject(channel, orders)
    delivery = get(channel, dead)

    assert (delivery.properties.message_id, delivery.properties.delivery_mode) == ("m-1", 2)
    assert delivery.headers["trace"] == "abc"


def test_expiration_moves_into_x_death(channel, publisher, orders, dead):
    publish(publisher, orders, b"hello", expiration=str(SOON))
    delivery = get(channel, dead)

    assert delivery.properties.expiration is None
    assert delivery.headers["x-death"][0]["original-expiration"] == str(SOON)


def test_second_death_in_the_same_way_is_counted_and_keeps_the_first_time(channel, publisher, name):
    work, wait = name("work"), name("wait")
    channel.queue_declare(
        wait, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": work, "x-message-ttl": SOON}
    )
    channel.queue_declare(work, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": wait})
    publish(publisher, work, b"hello")
    entries = []
    for _ in range(3):
        delivery = get(channel, work)
        entries += [entry for entry in (delivery.headers or {}).get("x-death", []) if entry["queue"] == work]
        channel.basic_reject(delivery.tag, requeue=False)

    assert [entry["count"] for entry in entries] == [1, 2]
    assert entries[0]["time"] == entries[1]["time"]


def test_deaths_in_other_ways_are_listed_newest_first(channel, publisher, declare, dead):
    second = declare(dead_letter_exchange="", dead_letter_routing_key=dead)
    first = declare(dead_letter_exchange="", dead_letter_routing_key=second, message_ttl=SOON)
    publish(publisher, first, b"hello")
    reject(channel, second)
    deaths = get(channel, dead).headers["x-death"]

    assert [(entry["queue"], entry["reason"]) for entry in deaths] == [(second, "rejected"), (first, "expired")]


def test_missing_exchange_drops(channel, publisher, declare, name):
    orders = declare(dead_letter_exchange=name("exchange"))
    publish(publisher, orders, b"hello")
    reject(channel, orders)

    assert channel.basic_get(orders) == (None, None, None)


def test_key_without_exchange_is_406(channel, name):
    with channel_refused(406, "x-dead-letter-routing-key"):
        channel.queue_declare(name(), arguments={"x-dead-letter-routing-key": "dead"})


def test_purged_messages_are_no_dead_letters(channel, publisher, orders, dead):
    publish(publisher, orders, b"hello")
    channel.queue_purge(orders)

    assert drain(channel, dead) == []


def test_messages_of_a_deleted_queue_are_no_dead_letters(channel, publisher, orders, dead):
    publish(publisher, orders, b"hello")
    channel.queue_delete(orders)

    assert drain(channel, dead) == []


def test_many_rejected_at_once_are_dead_lettered_in_order(channel, publisher, orders, dead):
    bodies = [b"%d" % number for number in range(100)]
    publish(publisher, orders, *bodies)
    Consumer(channel, orders).take(100)
    channel.basic_nack(100, multiple=True, requeue=False)
    eventually(lambda: ready(channel, dead) == 100)

    assert drain(channel, dead) == bodies


def test_dead_letters_go_to_every_queue_that_is_bound(channel, publisher, declare, name):
    exchange = name("exchange")
    channel.exchange_declare(exchange, "fanout")
    queues = [declare() for _ in range(3)]
    for queue in queues:
        channel.queue_bind(queue, exchange)
    orders = declare(dead_letter_exchange=exchange)
    publish(publisher, orders, b"hello")
    reject(channel, orders)

    assert [get(channel, queue).body for queue in queues] == [b"hello"] * 3


def test_retry_by_rejecting_and_waiting_comes_round(channel, publisher, declare, name):
    work, wait = name("work"), name("wait")
    channel.queue_declare(
        wait,
        arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": work, "x-message-ttl": SOON},
    )
    channel.queue_declare(work, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": wait})
    publish(publisher, work, b"hello")
    for count in range(4):
        delivery = get(channel, work)
        deaths = {entry["queue"]: entry["count"] for entry in (delivery.headers or {}).get("x-death", [])}
        assert deaths == ({work: count, wait: count} if count else {})
        channel.basic_reject(delivery.tag, requeue=False)


def test_cycle_without_a_reject_is_cut(channel, publisher, name, declare):
    one, two = name("one"), name("two")
    end = declare(message_ttl=SOON * 6)
    for queue, next_queue in ((one, two), (two, one)):
        arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": next_queue, "x-message-ttl": SOON}
        channel.queue_declare(queue, arguments=arguments)
    publish(publisher, one, b"hello")
    publish(publisher, end, b"hello")
    eventually(lambda: ready(channel, end) == 0)

    assert (drain(channel, one), drain(channel, two)) == ([], [])


def test_cc_is_in_the_routing_keys_and_bcc_is_not(channel, publisher, orders, dead, declare):
    copied, hidden = declare(), declare()
    publish(publisher, orders, b"hello", headers={"CC": [copied], "BCC": [hidden]})
    reject(channel, orders)

    assert sorted(death(get(channel, dead))["routing-keys"]) == sorted([orders, copied])


def test_cc_goes_when_there_is_a_dead_letter_key(channel, publisher, orders, dead, declare):
    copied = declare()
    publish(publisher, orders, b"hello", headers={"CC": [copied]})
    assert get(channel, copied, auto_ack=True).body == b"hello"
    reject(channel, orders)

    assert "CC" not in get(channel, dead).headers
    assert poll(channel, copied) is None


@pytest.mark.peer_differs("3.10 carries on what the client sent")
def test_x_death_that_a_client_sent_is_not_counted_on(channel, publisher, orders, dead):
    entry = {"count": 7, "reason": "rejected", "queue": orders, "exchange": "", "routing-keys": [orders]}
    publish(publisher, orders, b"hello", headers={"x-death": [entry]})
    reject(channel, orders)

    assert death(get(channel, dead))["count"] == 1


def test_unroutable_dead_letter_is_dropped(channel, publisher, declare, name):
    orders = declare(dead_letter_exchange="", dead_letter_routing_key=name("nowhere"))
    publish(publisher, orders, b"hello")
    reject(channel, orders)

    assert channel.basic_get(orders) == (None, None, None)
