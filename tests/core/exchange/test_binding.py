"""Bindings: made, removed, restored, and gone with what they bind."""

import os
import signal
import subprocess
import sys

import gevent
import pytest

from portask.errors import AccessRefusedError, NotFoundError, PreconditionError, StorageFullError
from portask.storage.local import LocalOptions, LocalStorage

DEFAULT = "operation not permitted on the default exchange"


def listed(host):
    """Source, kind, destination and key of all bindings."""
    return sorted(binding.identity[:4] for binding in host.bindings())


@pytest.fixture
def durable_queue():
    """A function that declares a durable queue."""
    return lambda host, name: host.queues.declare(name, durable=True)


def rows(storage):
    return len(storage.load("bindings")), len(storage.load("exchanges"))


# -- making and removing ----------------------------------------------------------------------------------------------


def test_binding_twice_is_binding_once(host, queue):
    queue("q")
    for arguments in ({"a": 1, "b": 2}, {"b": 2, "a": 1}):
        host.bind("amq.direct", "queue", "q", "k", arguments)

    assert listed(host) == [("amq.direct", "queue", "q", "k")]


def test_what_differs_in_arguments_is_another_binding(host, queue):
    queue("q")
    for arguments in (None, {"a": 1}, {"a": 2}):
        host.bind("amq.direct", "queue", "q", "k", arguments)

    assert len(listed(host)) == 3


@pytest.mark.parametrize(
    ("source", "kind", "destination", "text"),
    [
        ("amq.direct", "queue", "none", "no queue 'none' in vhost '/'"),
        ("none", "queue", "q", "no exchange 'none' in vhost '/'"),
        ("none", "queue", "neither", "no exchange 'none' in vhost '/'"),
        ("amq.direct", "exchange", "none", "no exchange 'none' in vhost '/'"),
        ("none", "exchange", "neither", "no exchange 'none' in vhost '/'"),
    ],
)
def test_what_does_not_exist_cannot_be_bound(host, queue, source, kind, destination, text):
    queue("q")
    with pytest.raises(NotFoundError) as refusal:
        host.bind(source, kind, destination, "k")

    assert str(refusal.value) == text


@pytest.mark.parametrize("verb", ["bind", "unbind"])
@pytest.mark.parametrize(
    ("source", "kind", "destination"),
    [("", "queue", "q"), ("", "exchange", "amq.fanout"), ("amq.fanout", "exchange", "")],
)
def test_the_default_exchange_cannot_be_bound(host, queue, verb, source, kind, destination):
    queue("q")
    with pytest.raises(AccessRefusedError, match=DEFAULT):
        getattr(host, verb)(source, kind, destination, "k")


@pytest.mark.parametrize("source", ["amq.direct", "none"])
@pytest.mark.parametrize("kind", ["queue", "exchange"])
def test_what_is_not_bound_can_be_unbound(host, source, kind):
    host.unbind(source, kind, "none", "k")


def test_line_ends_are_no_part_of_the_names_that_are_bound(host, queue):
    queue("q")
    host.bind("amq.direct\n", "queue", "q\r\n", "k")

    assert listed(host) == [("amq.direct", "queue", "q", "k")]


def test_a_topic_pattern_may_have_two_hashes_and_no_more(host, queue):
    queue("q")
    host.bind("amq.topic", "queue", "q", "#.a.#")

    with pytest.raises(PreconditionError, match="more than 2 '#' wildcards"):
        host.bind("amq.topic", "queue", "q", "#.a.#.#")


# -- going along ------------------------------------------------------------------------------------------------------


def test_a_deleted_queue_takes_its_bindings_along(host, queue, destinations):
    host.bind("amq.fanout", "queue", queue("q").name, "")
    host.queues.delete(host.queues.find("q"))
    queue("q")

    assert listed(host) == []
    assert destinations("amq.fanout") == []


def test_a_deleted_exchange_takes_bindings_on_both_sides_along(host, queue):
    queue("q")
    host.declare_exchange("x", "fanout")
    host.bind("x", "queue", "q", "")
    host.bind("amq.fanout", "exchange", "x", "")
    host.bind("x", "exchange", "x", "")
    host.delete_exchange("x")

    assert listed(host) == []


def test_an_auto_delete_exchange_goes_with_the_last_binding_that_leads_away(host, queue):
    queue("q")
    host.declare_exchange("x", "direct", auto_delete=True)
    host.bind("x", "queue", "q", "a")
    host.bind("x", "queue", "q", "b")
    host.unbind("x", "queue", "q", "a")
    still_there = "x" in host.exchanges
    host.unbind("x", "queue", "q", "b")

    assert (still_there, "x" in host.exchanges) == (True, False)


def test_an_auto_delete_exchange_that_was_never_bound_stays(host):
    host.declare_exchange("x", "direct", auto_delete=True)
    host.bind("amq.direct", "exchange", "x", "k")
    host.unbind("amq.direct", "exchange", "x", "k")

    assert "x" in host.exchanges


def test_an_auto_delete_exchange_goes_with_the_queue_it_leads_to(host, queue):
    host.declare_exchange("x", "direct", auto_delete=True)
    host.bind("x", "queue", queue("q").name, "a")
    host.queues.delete(host.queues.find("q"))

    assert "x" not in host.exchanges


def test_a_long_chain_of_auto_delete_exchanges_goes_at_once(host, queue):
    count = 2000
    for number in range(count):
        host.declare_exchange(f"x{number}", "fanout", auto_delete=True)
    for number in range(count - 1):
        host.bind(f"x{number}", "exchange", f"x{number + 1}", "")
    host.bind(f"x{count - 1}", "queue", queue("q").name, "")
    host.queues.delete(host.queues.find("q"))

    assert [name for name in host.exchanges if name.startswith("x")] == []


def test_a_circle_of_auto_delete_exchanges_goes_when_one_side_is_unbound(host):
    for name in ("x", "y"):
        host.declare_exchange(name, "fanout", auto_delete=True)
    host.bind("x", "exchange", "y", "")
    host.bind("y", "exchange", "x", "")
    host.unbind("x", "exchange", "y", "")

    assert {"x", "y"}.isdisjoint(host.exchanges)


# -- rows -------------------------------------------------------------------------------------------------------------


def test_bindings_between_durable_ends_come_back(reopen, durable_queue):
    host = reopen()
    durable_queue(host, "q")
    host.declare_exchange("x", "topic", durable=True)
    key = b"a.\xff.#".decode("utf-8", "surrogateescape")
    host.bind("x", "queue", "q", key, {"x-note": [1, "two"]})
    host.bind("amq.topic", "exchange", "x", "#")
    before = listed(host)

    host = reopen()
    assert listed(host) == before
    assert [binding.arguments for binding in host.bindings() if binding.arguments] == [{"x-note": [1, "two"]}]
    words = b"a.\xff.b".decode("utf-8", "surrogateescape")
    assert [queue.name for queue in host.route(host.exchange("amq.topic"), (words,), b"").destinations] == ["q"]


def test_a_restored_binding_can_be_unbound_for_good(reopen, durable_queue):
    host = reopen()
    durable_queue(host, "q")
    host.bind("amq.direct", "queue", "q", "k", {"b": 1, "a": 2})
    host = reopen()
    host.unbind("amq.direct", "queue", "q", "k", {"a": 2, "b": 1})

    assert listed(reopen()) == []


@pytest.mark.parametrize("is_durable_exchange", [False, True])
def test_a_binding_with_a_transient_end_has_no_row(gated_host, storage, is_durable_exchange):
    gated_host.declare_exchange("x", "fanout", durable=is_durable_exchange)
    gated_host.queues.declare("q", durable=not is_durable_exchange)
    gated_host.bind("x", "queue", "q", "")

    assert rows(storage) == (0, int(is_durable_exchange))


def test_no_row_is_left_when_a_queue_goes_and_takes_exchanges_along(gated_host, storage, durable_queue):
    durable_queue(gated_host, "q")
    for name in ("x", "y"):
        gated_host.declare_exchange(name, "fanout", durable=True, auto_delete=True)
    gated_host.bind("x", "exchange", "y", "")
    gated_host.bind("y", "queue", "q", "")
    gated_host.bind("amq.fanout", "exchange", "x", "")
    before = rows(storage)
    gated_host.queues.delete(gated_host.queues.find("q"))

    assert (before, rows(storage)) == ((3, 2), (0, 0))


def test_a_durable_auto_delete_exchange_goes_for_good_with_a_transient_queue(gated_host, storage, queue):
    gated_host.queues.declare("q")
    gated_host.declare_exchange("x", "fanout", durable=True, auto_delete=True)
    gated_host.bind("x", "queue", "q", "")
    gated_host.queues.delete(gated_host.queues.find("q"))

    assert rows(storage) == (0, 0)


# -- at once ----------------------------------------------------------------------------------------------------------


def test_no_message_goes_along_a_binding_before_it_is_durable(gated_host, storage, durable_queue, wait_until):
    durable_queue(gated_host, "q")
    storage.gate.clear()
    binding = gevent.spawn(gated_host.bind, "amq.fanout", "queue", "q", "")
    wait_until(lambda: storage.waiting)
    is_routed_before = gated_host.route(gated_host.exchange("amq.fanout"), ("",), b"").is_routed
    storage.gate.set()
    binding.join(5)

    assert not is_routed_before
    assert gated_host.route(gated_host.exchange("amq.fanout"), ("",), b"").is_routed


def test_a_binding_that_could_not_be_stored_is_not_there(gated_host, storage, durable_queue):
    durable_queue(gated_host, "q")
    storage.refuses = True
    with pytest.raises(StorageFullError):
        gated_host.bind("amq.fanout", "queue", "q", "")
    storage.refuses = False

    assert listed(gated_host) == []
    gated_host.bind("amq.fanout", "queue", "q", "")
    assert rows(storage) == (1, 0)


def test_a_binding_whose_removal_could_not_be_stored_is_still_there(gated_host, storage, durable_queue):
    durable_queue(gated_host, "q")
    gated_host.bind("amq.fanout", "queue", "q", "")
    storage.refuses = True
    with pytest.raises(StorageFullError):
        gated_host.unbind("amq.fanout", "queue", "q", "")

    assert gated_host.route(gated_host.exchange("amq.fanout"), ("",), b"").is_routed


def test_what_is_being_deleted_cannot_be_bound(gated_host, storage, durable_queue, wait_until):
    durable_queue(gated_host, "q")
    gated_host.declare_exchange("x", "fanout", durable=True)
    storage.gate.clear()
    greenlets = [
        gevent.spawn(gated_host.queues.delete, gated_host.queues.find("q")),
        gevent.spawn(gated_host.delete_exchange, "x"),
    ]
    wait_until(lambda: storage.waiting and gated_host.exchange("x").removed)
    for source, kind, destination in (
        ("amq.fanout", "queue", "q"),
        ("x", "exchange", "amq.fanout"),
        ("amq.fanout", "exchange", "x"),
    ):
        with pytest.raises(NotFoundError):
            gated_host.bind(source, kind, destination, "")
    storage.gate.set()
    gevent.joinall(greenlets, timeout=5)

    assert rows(storage) == (0, 0)


def test_a_binding_whose_end_is_deleted_while_it_is_made_leaves_nothing(gated_host, storage, durable_queue, wait_until):
    durable_queue(gated_host, "q")
    gated_host.declare_exchange("x", "fanout", durable=True)
    storage.gate.clear()
    binding = gevent.spawn(gated_host.bind, "x", "queue", "q", "")
    wait_until(lambda: storage.waiting)
    deleting = gevent.spawn(gated_host.delete_exchange, "x")
    gevent.sleep(0)
    storage.gate.set()
    gevent.joinall([binding, deleting], timeout=5)

    assert isinstance(binding.exception, NotFoundError)
    assert rows(storage) == (0, 0)
    assert gated_host.bound.to_queue("q") == []


def test_two_who_bind_the_same_at_once_make_one_binding(gated_host, storage, durable_queue):
    durable_queue(gated_host, "q")
    greenlets = [gevent.spawn(gated_host.bind, "amq.fanout", "queue", "q", "") for _ in range(3)]
    gevent.joinall(greenlets, timeout=5)

    assert all(greenlet.successful() for greenlet in greenlets)
    assert len(listed(gated_host)) == 1


# -- kill -9 ----------------------------------------------------------------------------------------------------------

_DYING = """
from gevent import monkey; monkey.patch_all()
import os, signal, sys
from portask.broker import Broker
from portask.clock import Clock
from portask.config import load_settings
from portask.storage.local import LocalOptions, LocalStorage
broker = Broker(load_settings((), {}, ()), LocalStorage(LocalOptions(directory=sys.argv[1])), Clock())
broker.start()
host = broker.virtual_hosts.create("other")
host.queues.declare("q", durable=True)
host.declare_exchange("gone", "direct", durable=True)
host.declare_exchange("x", "direct", durable=True)
host.bind("gone", "queue", "q", "k")
host.bind("x", "queue", "q", "k")
host.delete_exchange("gone")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_declared_is_there_after_kill_9(make_broker, tmp_path):
    directory = str(tmp_path / "data")
    child = subprocess.run(
        [sys.executable, "-c", _DYING, directory],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    host = make_broker(LocalStorage(LocalOptions(directory=directory))).virtual_hosts.get("other")

    assert child.returncode == -signal.SIGKILL
    assert listed(host) == [("x", "queue", "q", "k")]
    assert "gone" not in host.exchanges
