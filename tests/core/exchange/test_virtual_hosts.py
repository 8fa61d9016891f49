"""Virtual hosts: name spaces that know nothing of each other."""

import pytest

from portask.errors import CorruptError, NotAllowedError
from portask.storage.base import Round
from portask.storage.memory import MemoryStorage


def test_the_virtual_host_slash_is_always_there(broker):
    assert broker.virtual_hosts.names() == ["/"]


def test_one_that_does_not_exist_is_refused(broker):
    with pytest.raises(NotAllowedError, match="vhost none not found"):
        broker.virtual_hosts.get("none")


def test_the_same_name_is_another_thing_in_another_virtual_host(broker):
    other = broker.virtual_hosts.create("other")
    other.declare_exchange("x", "topic")
    other.queues.declare("q")

    assert "x" not in broker.virtual_hosts.get("/").exchanges
    assert broker.virtual_hosts.get("/").queues.find("q") is None


def test_creating_twice_is_creating_once(broker):
    assert broker.virtual_hosts.create("other") is broker.virtual_hosts.create("other")


def test_all_of_it_comes_back(reopen):
    broker = reopen()._broker
    other = broker.virtual_hosts.create("other", {"description": "for tests"})
    other.queues.declare("q", durable=True)
    other.declare_exchange("x", "fanout", durable=True)
    other.bind("x", "queue", "q", "")

    other = reopen()._broker.virtual_hosts.get("other")
    assert other.metadata == {"description": "for tests"}
    assert other.route(other.exchange("x"), ("",), b"").is_routed


def test_all_of_it_goes_when_it_is_deleted(make_broker):
    storage = MemoryStorage()
    broker = make_broker(storage)
    other = broker.virtual_hosts.create("other")
    other.queues.declare("q", durable=True)
    other.queues.declare("mine", exclusive=True, owner=object())
    other.declare_exchange("x", "fanout", durable=True)
    other.bind("x", "queue", "q", "")
    broker.virtual_hosts.delete("other")

    assert broker.virtual_hosts.names() == ["/"]
    assert not any(storage.load(table) for table in ("virtual hosts", "exchanges", "bindings", "queues"))


def test_slash_stays(broker):
    with pytest.raises(NotAllowedError, match="cannot be deleted"):
        broker.virtual_hosts.delete("/")


@pytest.mark.parametrize(
    ("table", "key", "value"),
    [
        ("virtual hosts", b"other", b"\xff"),
        ("exchanges", b"\x82A/Ax", b"\x01"),
        ("exchanges", b"\x81A/", b"\x84etopic\xf4\xf4D\x00\x00\x00\x00"),
        ("exchanges", b"\x82A/Ax", b"\x84dnone\xf4\xf4D\x00\x00\x00\x00"),
        ("bindings", b"digest", b"\x80"),
    ],
)
def test_a_broken_row_is_damage(make_broker, table, key, value):
    storage = MemoryStorage()
    storage.open()
    round_ = Round()
    round_.puts[table, key] = value
    storage.write(round_)

    with pytest.raises(CorruptError, match=f"table {table} is broken"):
        make_broker(storage)


def test_a_binding_without_its_ends_is_left_out(reopen, make_broker):
    storage = MemoryStorage()
    host = make_broker(storage).virtual_hosts.get("/")
    host.declare_exchange("x", "fanout", durable=True)
    host.bind("x", "exchange", "amq.fanout", "")
    row = storage.load("bindings")
    host.delete_exchange("x")
    host._broker.stop(5)
    storage.open()
    round_ = Round()
    round_.puts.update({("bindings", key): value for key, value in row.items()})
    storage.write(round_)

    assert make_broker(storage).virtual_hosts.get("/").bindings() == []
