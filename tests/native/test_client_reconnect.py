"""The Python client when the server goes, comes back, or does not answer."""

import gevent
import gevent.server
import gevent.subprocess
import pytest

from portask.client import Client, ConnectionLostError
from portask.errors import StorageFullError
from tests.native.gated_storage import GatedStorage
from tests.native.peer import payloads


def test_publish_goes_on_over_a_restarted_listener(client, served):
    client.publish("t", b"one")
    served.restart_listener()
    assert client.publish("t", b"two") == "t/0/1"


def test_publish_many_goes_on_over_a_restarted_listener_and_loses_nothing(client, served):
    ids = client.publish_many("t", (b"%d" % number for number in range(500)), window=20, frame_messages=3)
    got = []
    for number, id_ in enumerate(ids):
        got.append(id_)
        if number == 100:
            served.restart_listener()
    assert len(got) == 500
    stored = set(payloads(client.read("t", max=2000).messages))
    assert stored == {b"%d" % number for number in range(500)}


def test_a_subscription_goes_on_over_a_restarted_listener(client, served):
    list(client.publish_many("t", [b"0", b"1"]))
    with client.subscribe("t", "g") as subscription:
        first, second = subscription.receive(), subscription.receive()
        first.ack()
        subscription.flush()
        served.restart_listener()
        again = subscription.receive()
        assert (again.payload, again.redelivered) == (b"1", True)
        second.ack()
        again.ack()
        subscription.flush()
    assert client.group("t", "g")["lag"] == 0


def test_acks_that_went_with_a_broken_connection_are_told(client, served):
    client.publish("t", b"x")
    subscription = client.subscribe("t", "g")
    message = subscription.receive()
    served.handler.close(0)

    def settle_until_it_is_noticed():
        while True:
            message.ack()
            subscription.flush()

    with pytest.raises(ConnectionLostError):
        settle_until_it_is_noticed()
    with pytest.raises(ConnectionLostError, match="come again"):
        subscription.close()


def test_leaving_a_subscription_by_an_exception_keeps_its_acks_and_the_exception(client):
    client.publish("t", b"x")

    def fail_after_an_ack():
        with client.subscribe("t", "g") as subscription:
            subscription.receive().ack()
            raise KeyError

    with pytest.raises(KeyError):
        fail_after_an_ack()
    assert client.group("t", "g")["lag"] == 0


def test_leaving_a_broken_subscription_by_an_exception_keeps_the_exception(client, served):
    client.publish("t", b"x")

    def fail_on_a_broken_connection():
        with client.subscribe("t", "g") as subscription:
            message = subscription.receive()
            served.handler.close(0)
            message.ack()
            raise KeyError

    with pytest.raises(KeyError):
        fail_on_a_broken_connection()


def test_a_full_disk_is_waited_out_and_the_ids_stay_in_order(serve):
    storage = GatedStorage()
    served = serve("--publish-timeout-ms", "10", storage=storage)
    with Client(served.address) as client:
        client.create_topic("t")
        storage.failure = StorageFullError("no space left")
        gevent.spawn_later(0.1, setattr, storage, "failure", None)
        messages = [b"%d" % number for number in range(20)]
        ids = list(client.publish_many("t", messages, frame_messages=2))
        for id_, payload in zip(ids, messages, strict=True):
            assert client.read("t", 0, int(id_.split("/")[2]), max=1).messages[0].payload == payload
        storage.failure = StorageFullError("no space left")
        gevent.spawn_later(0.1, setattr, storage, "failure", None)
        assert client.publish("t", b"x") == "t/0/20"


def test_an_interrupted_request_does_not_confuse_the_next(client):
    client.create_topic("t")
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.05):
        client.read("t", 0, 0, wait=20)
    assert client.info()["state"] == "ready"


def test_an_answer_that_does_not_come_is_told(serve):
    storage = GatedStorage()
    served = serve(storage=storage)
    with Client(served.address, timeout=0.1, retry=0) as client:
        client.create_topic("t")
        subscription = client.subscribe("t", "g")
        client.publish("t", b"x")
        message = subscription.receive()
        storage.gate.clear()
        with pytest.raises(ConnectionLostError, match="no answer"):
            client.publish("t", b"y")
        message.ack()
        with pytest.raises(ConnectionLostError, match="not answered"):
            subscription.close()
        with pytest.raises(ConnectionLostError, match="no answer"):
            client.subscribe("t", "new")
        storage.gate.set()


def test_a_server_that_stays_away_is_told_when_retrying_is_over(served):
    client = Client(served.address, retry=0.2)
    subscription = client.subscribe("t", "g")
    served.handler.close(0)
    with pytest.raises(ConnectionLostError):
        client.publish("t", b"x")
    with pytest.raises(ConnectionLostError):
        list(client.publish_many("t", [b"x"]))
    with pytest.raises(ConnectionLostError):
        subscription.receive()
    client.close()


def test_a_request_that_must_not_be_repeated_is_not(served):
    client = Client(served.address)
    served.handler.close(0)
    with pytest.raises(ConnectionLostError):
        client.create_topic("t")
