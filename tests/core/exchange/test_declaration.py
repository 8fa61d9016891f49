"""Declaring and deleting exchanges: what is equal to what is there, what is refused and in which words."""

import gevent
import pytest

from portask.errors import AccessRefusedError, NotFoundError, PreconditionError, StorageFullError

ALTERNATE = "'alternate-exchange' for exchange 'x' in vhost '/'"
DEFAULT = "operation not permitted on the default exchange"


def refusal_of(call, *args, **kwargs):
    with pytest.raises((AccessRefusedError, NotFoundError, PreconditionError)) as refusal:
        call(*args, **kwargs)
    return refusal.type, str(refusal.value)


# -- declaring --------------------------------------------------------------------------------------------------------


def test_an_equal_declaration_finds_what_is_there(host):
    made = host.declare_exchange("x", "topic", durable=True)

    assert host.declare_exchange("x", "topic", durable=True) is made


def test_a_passive_declaration_looks_at_nothing_but_the_name(host):
    made = host.declare_exchange("x", "topic")

    assert host.declare_exchange("x", "whatever", passive=True, durable=True) is made


def test_a_passive_declaration_makes_nothing(host):
    assert refusal_of(host.declare_exchange, "x", "topic", passive=True) == (
        NotFoundError,
        "no exchange 'x' in vhost '/'",
    )


@pytest.mark.parametrize(
    ("different", "text"),
    [
        ({"type_name": "fanout"}, "'type' for exchange 'x' in vhost '/': received 'fanout' but current is 'direct'"),
        ({"durable": True}, "'durable' for exchange 'x' in vhost '/': received 'true' but current is 'false'"),
        ({"auto_delete": True}, "'auto_delete' for exchange 'x' in vhost '/': received 'true' but current is 'false'"),
        ({"internal": True}, "'internal' for exchange 'x' in vhost '/': received 'true' but current is 'false'"),
        (
            {"arguments": {"alternate-exchange": "y"}},
            f"{ALTERNATE}: received the value 'y' of type 'longstr' but current is none",
        ),
        (
            {"arguments": {"alternate-exchange": 5}},
            f"{ALTERNATE}: received the value '5' of type 'signedint' but current is none",
        ),
    ],
)
def test_a_different_declaration_is_refused(host, different, text):
    host.declare_exchange("x", "direct")

    assert refusal_of(host.declare_exchange, **{"name": "x", "type_name": "direct", **different}) == (
        PreconditionError,
        f"inequivalent arg {text}",
    )


@pytest.mark.parametrize(
    ("received", "text"),
    [
        ({}, "received none but current is the value 'y' of type 'longstr'"),
        ({"alternate-exchange": "z"}, "received 'z' but current is 'y'"),
    ],
)
def test_the_alternate_exchange_is_compared(host, received, text):
    host.declare_exchange("x", "direct", arguments={"alternate-exchange": "y"})

    assert refusal_of(host.declare_exchange, "x", "direct", arguments=received) == (
        PreconditionError,
        f"inequivalent arg 'alternate-exchange' for exchange 'x' in vhost '/': {text}",
    )


def test_other_arguments_are_not_compared(host):
    made = host.declare_exchange("x", "direct", arguments={"x-colour": "red"})

    assert host.declare_exchange("x", "direct", arguments={"x-colour": "blue"}) is made


@pytest.mark.parametrize(("value", "name"), [(5, "signedint"), (True, "bool"), ([], "array")])
def test_an_alternate_exchange_is_a_name(host, value, name):
    assert refusal_of(host.declare_exchange, "x", "direct", arguments={"alternate-exchange": value}) == (
        PreconditionError,
        f"invalid type '{name}' for arg 'alternate-exchange' in exchange 'x' in vhost '/'",
    )


def test_a_type_that_nobody_knows_is_refused(host):
    assert refusal_of(host.declare_exchange, "x", "x-random") == (
        PreconditionError,
        "unknown exchange type 'x-random'",
    )


def test_line_ends_are_no_part_of_a_name(host):
    made = host.declare_exchange("x\r\n", "direct")

    assert made.name == "x"
    assert host.declare_exchange("\nx", "direct", passive=True) is made


def test_a_reserved_name_is_refused_for_what_does_not_exist(host):
    assert refusal_of(host.declare_exchange, "amq.mine", "direct") == (
        AccessRefusedError,
        "exchange name 'amq.mine' contains reserved prefix 'amq.*'",
    )


def test_a_predeclared_exchange_can_be_declared_as_it_is(host):
    assert host.declare_exchange("amq.topic", "topic", durable=True) is host.exchange("amq.topic")


def test_a_predeclared_exchange_cannot_be_declared_as_another(host):
    kind, text = refusal_of(host.declare_exchange, "amq.topic", "topic")

    assert kind is PreconditionError
    assert text.startswith("inequivalent arg 'durable' for exchange 'amq.topic'")


@pytest.mark.parametrize("passive", [False, True])
def test_the_default_exchange_cannot_be_declared(host, passive):
    assert refusal_of(host.declare_exchange, "", "direct", passive=passive) == (AccessRefusedError, DEFAULT)


def test_names_and_arguments_come_back_as_they_were(reopen):
    name = b"\xff\xfe".decode("utf-8", "surrogateescape")
    arguments = {"alternate-exchange": "y", "nested": {"list": [1, 2.5, None, True, b"\x00"]}}
    reopen().declare_exchange(name, "topic", durable=True, internal=True, auto_delete=True, arguments=arguments)

    found = reopen().exchange(name)
    assert (found.type, found.durable, found.internal, found.auto_delete) == ("topic", True, True, True)
    assert found.arguments == arguments


def test_a_transient_exchange_does_not_come_back(reopen):
    reopen().declare_exchange("x", "topic")

    assert "x" not in reopen().exchanges


# -- deleting ---------------------------------------------------------------------------------------------------------


def test_a_deleted_exchange_does_not_come_back(reopen):
    host = reopen()
    host.declare_exchange("x", "topic", durable=True)
    host.delete_exchange("x")

    assert "x" not in host.exchanges
    assert "x" not in reopen().exchanges


def test_what_does_not_exist_can_be_deleted(host):
    host.delete_exchange("x")


def test_an_exchange_with_bindings_is_in_use(host, queue):
    host.declare_exchange("x", "direct")
    queue("q")
    host.bind("x", "queue", "q", "k")

    assert refusal_of(host.delete_exchange, "x", if_unused=True) == (
        PreconditionError,
        "exchange 'x' in vhost '/' in use",
    )


def test_an_exchange_that_others_lead_to_is_not_in_use_for_that(host):
    host.declare_exchange("x", "direct")
    host.bind("amq.direct", "exchange", "x", "k")
    host.delete_exchange("x", if_unused=True)

    assert "x" not in host.exchanges
    assert host.bindings() == []


@pytest.mark.parametrize("name", ["amq.direct", "amq.rabbitmq.trace", "amq.that.is.not.there"])
def test_a_system_exchange_cannot_be_deleted(host, name):
    assert refusal_of(host.delete_exchange, name) == (
        AccessRefusedError,
        f"deletion of system exchange '{name}' in vhost '/' not allowed",
    )


def test_the_default_exchange_cannot_be_deleted(host):
    assert refusal_of(host.delete_exchange, "") == (AccessRefusedError, DEFAULT)


# -- at once ----------------------------------------------------------------------------------------------------------


def test_all_who_declare_at_once_get_the_same_exchange(host):
    makers = [gevent.spawn(host.declare_exchange, "x", "direct", durable=True) for _ in range(5)]
    gevent.joinall(makers, timeout=5)

    assert {id(maker.value) for maker in makers} == {id(host.exchange("x"))}


def test_an_exchange_that_could_not_be_stored_is_not_there(gated_host, storage):
    storage.refuses = True
    with pytest.raises(StorageFullError):
        gated_host.declare_exchange("x", "direct", durable=True)

    assert "x" not in gated_host.exchanges


def test_an_exchange_whose_deletion_could_not_be_stored_is_still_there(gated_host, storage):
    gated_host.declare_exchange("x", "direct", durable=True)
    gated_host.bind("x", "exchange", "amq.fanout", "k")
    storage.refuses = True
    with pytest.raises(StorageFullError):
        gated_host.delete_exchange("x")
    storage.refuses = False

    assert gated_host.exchange("x").removed is None
    assert [binding.is_leaving for binding in gated_host.bindings()] == [False]
    gated_host.delete_exchange("x")
    assert "x" not in gated_host.exchanges


def test_who_declares_what_is_being_deleted_gets_a_new_one(gated_host, storage, wait_until):
    old = gated_host.declare_exchange("x", "direct", durable=True)
    storage.gate.clear()
    deleting = gevent.spawn(gated_host.delete_exchange, "x")
    wait_until(lambda: storage.waiting)
    declaring = gevent.spawn(gated_host.declare_exchange, "x", "topic", durable=True)
    storage.gate.set()
    gevent.joinall([deleting, declaring], timeout=5)

    assert gated_host.exchange("x") is declaring.value is not old
    assert declaring.value.type == "topic"


def test_who_deletes_what_is_being_deleted_in_vain_deletes_it(gated_host, storage, wait_until):
    gated_host.declare_exchange("x", "fanout", durable=True, auto_delete=True)
    gated_host.bind("x", "exchange", "amq.fanout", "")
    storage.gate.clear()
    unbinding = gevent.spawn(gated_host.unbind, "x", "exchange", "amq.fanout", "")
    unbinding.link(lambda _: setattr(storage, "refuses", False))
    wait_until(lambda: storage.waiting)
    deleting = gevent.spawn(gated_host.delete_exchange, "x")
    gevent.sleep(0)
    storage.refuses = True
    storage.gate.set()
    gevent.joinall([unbinding, deleting], timeout=5)

    assert isinstance(unbinding.exception, StorageFullError)
    assert "x" not in gated_host.exchanges


def test_who_deletes_what_is_being_deleted_waits_until_it_is_gone(gated_host, storage, wait_until):
    gated_host.declare_exchange("x", "fanout", durable=True, auto_delete=True)
    gated_host.bind("x", "exchange", "amq.fanout", "")
    storage.gate.clear()
    unbinding = gevent.spawn(gated_host.unbind, "x", "exchange", "amq.fanout", "")
    wait_until(lambda: storage.waiting)
    deleting = gevent.spawn(gated_host.delete_exchange, "x")
    storage.gate.set()
    gevent.joinall([unbinding, deleting], timeout=5)

    assert deleting.successful()
    assert "x" not in gated_host.exchanges
