"""The Python client against a broker."""

import os
import sys

import gevent
import gevent.server
import gevent.subprocess
import pytest

from portask.client import Client, ClientError, ConnectionLostError, Message
from portask.client.wire import parse_address
from tests.native.peer import frame, payloads
from tests.server_process import free_port

# -- publishing -----------------------------------------------------------------------------------


def test_publish_returns_the_id(client):
    assert client.publish("t", b"one") == "t/0/0"
    assert client.publish("t", "zwei") == "t/0/1"


def test_every_field_of_a_message_comes_back(client):
    client.publish("t", b"x", key="k", headers={"a": "b", "n": None}, timestamp=17, properties=b"p")
    (message,) = client.read("t").messages
    assert (message.payload, message.key, message.headers) == (b"x", b"k", (("a", b"b"), ("n", None)))
    assert (message.timestamp, message.properties, message.id) == (17, b"p", "t/0/0")


def test_a_tombstone_is_none(client):
    client.publish("t", None, key=b"k", headers=[("a", b"1"), ("a", b"2")])
    (message,) = client.read("t").messages
    assert message.payload is None
    assert message.headers == (("a", b"1"), ("a", b"2"))


def test_publish_goes_to_the_partition_that_is_named(client):
    client.create_topic("t", partitions=3)
    assert client.publish("t", b"x", partition=2) == "t/2/0"


def test_publish_many_yields_the_ids_in_order(client):
    ids = list(client.publish_many("t", (str(number) for number in range(1000)), window=50, frame_messages=7))
    assert ids == [f"t/0/{number}" for number in range(1000)]
    assert payloads(client.read("t").messages) == [b"%d" % number for number in range(1000)]


def test_publish_many_takes_messages_with_keys(client):
    client.create_topic("t", partitions=4)
    messages = [Message(b"%d" % number, b"%d" % (number % 5), (("h", b"v"),)) for number in range(40)]
    ids = list(client.publish_many("t", messages))
    for message, id_ in zip(messages, ids, strict=True):
        _, partition, offset = id_.split("/")
        assert client.read("t", int(partition), int(offset), max=1).messages[0].payload == message.payload


def test_publish_many_of_nothing_is_nothing(client):
    assert list(client.publish_many("t", [])) == []


def test_publish_many_reads_no_further_ahead_than_its_window(client):
    taken = []

    def source():
        for number in range(1000):
            taken.append(number)
            yield b"x"

    ids = client.publish_many("t", source(), window=10, frame_messages=5)
    next(ids)
    assert len(taken) <= 15
    ids.close()


def test_other_requests_may_be_made_while_publish_many_goes_on(client):
    for id_ in client.publish_many("t", [b"x"] * 5, frame_messages=1):
        client.ping()
        assert id_.startswith("t/0/")


def test_large_messages_are_split_over_frames(client):
    assert len(list(client.publish_many("t", [b"x" * 200_000] * 5))) == 5


def test_a_refused_publish_raises_with_its_code(client):
    with pytest.raises(ClientError) as caught:
        client.publish("not a name", b"x")
    assert caught.value.code == "INVALID_TOPIC"
    with pytest.raises(ClientError):
        list(client.publish_many("not a name", [b"x"]))


# -- consuming ------------------------------------------------------------------------------------


def test_a_subscription_yields_messages_and_acks_them(client):
    for number in range(3):
        client.publish("t", b"%d" % number)
    with client.subscribe("t", "g") as subscription:
        for message, expected in zip(subscription, (b"0", b"1", b"2"), strict=False):
            assert message.payload == expected
            message.ack()
            if expected == b"2":
                break
    assert client.group("t", "g")["lag"] == 0


def test_ack_many_settles_what_is_given_in_any_order(client):
    list(client.publish_many("t", [b"x"] * 10))
    with client.subscribe("t", "g") as subscription:
        messages = []
        while len(messages) < 10:
            messages += subscription.receive_many()
        subscription.ack_many(reversed(messages[2:]))
        subscription.flush()
        assert client.group("t", "g")["lag"] == 2


def test_receive_many_gives_no_more_than_asked(client):
    list(client.publish_many("t", [b"x"] * 10))
    with client.subscribe("t", "g") as subscription:
        assert len(subscription.receive_many(3)) == 3


def test_nack_brings_a_message_back_redelivered(client):
    client.publish("t", b"x")
    with client.subscribe("t", "g") as subscription:
        first = subscription.receive()
        assert not first.redelivered
        first.nack()
        assert subscription.receive().redelivered


def test_receive_gives_up_after_its_time(client):
    client.create_topic("t")
    with client.subscribe("t", "g") as subscription:
        assert subscription.receive(timeout=0.01) is None
        assert subscription.receive_many(timeout=0.01) == []


def test_an_ack_that_is_refused_is_raised_at_the_next_receive(client):
    client.publish("t", b"x")
    with client.subscribe("t", "g") as subscription:
        message = subscription.receive()
        message.ack()
        message.ack()
        with pytest.raises(ClientError) as caught:
            subscription.flush()
        assert caught.value.code == "NOT_IN_FLIGHT"


def test_a_message_that_was_read_can_not_be_settled(client):
    client.publish("t", b"x")
    (message,) = client.read("t").messages
    with pytest.raises(ClientError, match="nothing to settle"):
        message.ack()


def test_what_was_not_acked_is_delivered_again_after_close(client):
    client.publish("t", b"x")
    subscription = client.subscribe("t", "g")
    subscription.receive()
    subscription.close()
    subscription.close()
    assert subscription.receive() is None
    with client.subscribe("t", "g") as again:
        assert again.receive().redelivered


def test_a_subscription_ends_when_its_topic_is_deleted(client):
    client.create_topic("t")
    with client.subscribe("t", "g") as subscription:
        client.delete_topic("t")
        with pytest.raises(ClientError) as caught:
            subscription.receive()
        assert caught.value.code == "UNKNOWN_TOPIC"
        with pytest.raises(StopIteration):
            next(subscription)


def test_a_subscription_starts_where_it_is_told(client):
    list(client.publish_many("t", [b"0", b"1", b"2"]))
    with client.subscribe("t", "g", start=1) as subscription:
        assert subscription.receive().payload == b"1"


def test_read_gives_messages_and_positions(client):
    list(client.publish_many("t", [b"0", b"1", b"2"]))
    page = client.read("t", 0, 1, max=1)
    assert (payloads(page.messages), page.next_offset, page.high_watermark, page.log_start_offset) == ([b"1"], 2, 3, 0)


def test_read_waits_for_messages(client):
    client.create_topic("t")
    reader = gevent.spawn(client.read, "t", 0, "next", wait=20)
    with Client(client.address) as other:
        other.publish("t", b"x")
        assert payloads(reader.get(timeout=10).messages) in ([b"x"], [])


# -- topics, groups, server -----------------------------------------------------------------------


def test_topics_can_be_made_changed_listed_and_deleted(client):
    client.create_topic("t", partitions=2, settings={"retention_ms": 5000})
    client.alter_topic("t", {"zstd_level": "3", "retention_ms": None})
    assert client.topic("t")["settings"] == {"zstd_level": "3"}
    assert [topic["name"] for topic in client.topics()] == ["t"]
    client.delete_topic("t")
    assert client.topics() == []


def test_groups_can_be_listed_and_dropped(client):
    client.subscribe("t", "g").close()
    assert [group["name"] for group in client.groups()] == ["g"]
    assert [group["name"] for group in client.groups("t")] == ["g"]
    while client.group("t", "g")["consumers"]:
        gevent.sleep(0)
    client.drop_group("t", "g")
    assert client.groups() == []


def test_info_reload_and_ping_are_answered(client):
    assert client.info()["state"] == "ready"
    assert client.reload() == {"applied": [], "needs_restart": []}
    client.ping()


def test_the_server_shows_the_clients_name(served):
    with Client(served.address, name="a b/c"):
        assert [link.name for link in served.broker.connections.values()] == ["a b/c"]


# -- connections that break -----------------------------------------------------------------------


def test_a_server_that_is_not_there_is_told_at_once():
    with pytest.raises(ConnectionLostError, match="can't connect"):
        Client(f"127.0.0.1:{free_port()}", retry=60)


def test_a_peer_that_is_no_portask_server_is_told():
    server = gevent.server.StreamServer(("127.0.0.1", 0), lambda sock, _: sock.sendall(b"SSH-2.0\n"))
    server.start()
    with pytest.raises(ConnectionLostError, match="as a Portask server does"):
        Client(f"127.0.0.1:{server.server_port}")
    server.stop()


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\0\0\0\1\xff", "no frame"),
        (b"\0\0\0\1\x05", "no answer"),
        (frame(["OK", 77]), "something else"),
        (frame(["OK"]), "no answer"),
        (b"\0\0", "closed the connection"),
    ],
)
def test_an_answer_that_is_none_ends_the_connection(data, text):
    def serve(sock, _):
        sock.recv(100)
        sock.sendall(b"OK {}\n")
        sock.recv(100)
        sock.sendall(data)

    server = gevent.server.StreamServer(("127.0.0.1", 0), serve)
    server.start()
    with Client(f"127.0.0.1:{server.server_port}", retry=0) as client, pytest.raises(ConnectionLostError, match=text):
        client.ping()
    server.stop()


def test_an_endless_greeting_is_refused():
    server = gevent.server.StreamServer(("127.0.0.1", 0), lambda sock, _: sock.sendall(b"x" * 100_000))
    server.start()
    with pytest.raises(ConnectionLostError, match="as a Portask server does"):
        Client(f"127.0.0.1:{server.server_port}")
    server.stop()


def test_a_refused_subscription_raises_with_its_code(client):
    with pytest.raises(ClientError) as caught:
        client.subscribe("not a name")
    assert caught.value.code == "INVALID_TOPIC"


def test_a_message_shows_its_id(client):
    client.publish("t", b"x")
    assert repr(client.read("t").messages[0]) == "<ReceivedMessage t/0/0>"


def test_receive_gives_up_in_time_while_the_server_is_away(client, served):
    with client.subscribe("t", "g") as subscription:
        served.handler.close(0)
        assert subscription.receive(timeout=0.05) is None
        served.restart_listener()


def test_a_refusal_at_the_door_has_its_code(serve):
    served = serve("--max-connections", "1")
    with Client(served.address), pytest.raises(ClientError) as caught:
        Client(served.address)
    assert caught.value.code == "TOO_MANY_CONNECTIONS"


def test_a_closed_client_does_not_connect_again(client):
    client.close()
    with pytest.raises(ClientError) as caught:
        client.ping()
    assert caught.value.code == "CLOSED"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("h:1", ("h", 1)),
        ("h", ("h", 7672)),
        (":1", ("127.0.0.1", 1)),
        ("[::1]:5", ("::1", 5)),
        ("[::1]", ("::1", 7672)),
    ],
)
def test_an_address_has_a_host_and_perhaps_a_port(address, expected):
    assert parse_address(address) == expected


@pytest.mark.parametrize("address", ["h:x", "h:0", "h:65536"])
def test_an_impossible_address_is_refused(address):
    with pytest.raises(ValueError, match="no address"):
        parse_address(address)


def test_the_client_works_without_gevent(served):
    script = (
        "import sys\n"
        "from portask.client import Client\n"
        "assert 'gevent' not in sys.modules\n"
        "with Client(sys.argv[1]) as client:\n"
        "    client.publish('t', b'x')\n"
        "    with client.subscribe('t') as subscription:\n"
        "        print(subscription.receive().id)\n"
    )
    command = [sys.executable, "-c", script, served.address]
    # Measuring coverage would bring gevent in.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    process = gevent.subprocess.run(command, capture_output=True, text=True, timeout=20, env=environ)
    assert (process.stdout, process.stderr) == ("t/0/0\n", "")


def test_a_client_may_be_shared(served):
    with Client(served.address) as client:
        jobs = [gevent.spawn(client.publish, "t", b"%d" % number) for number in range(20)]
        gevent.joinall(jobs, raise_error=True)
        assert sorted(payloads(client.read("t").messages), key=int) == [b"%d" % number for number in range(20)]
