"""The Python client and a server that is killed under it."""

import gevent
import pytest

from portask.client import Client
from tests.server_process import ServerProcess

MESSAGES = 3000


@pytest.fixture
def server(tmp_path):
    server = ServerProcess(tmp_path / "data")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def client(server):
    with Client(f"127.0.0.1:{server.port}", retry=30) as client:
        yield client


def payload(number):
    return b"message %d" % number


def test_every_confirmed_id_holds_its_message_after_the_server_was_killed(server, client):
    ids = []
    for id_ in client.publish_many("t", map(payload, range(MESSAGES)), window=200, frame_messages=10):
        ids.append(id_)
        if len(ids) in {700, 1900}:
            server.kill()
            server.start()
    assert len(ids) == MESSAGES
    stored = {}
    position = 0
    while (page := client.read("t", 0, position)).messages:
        stored.update((message.id, message.payload) for message in page.messages)
        position = page.next_offset
    assert [stored[id_] for id_ in ids] == [payload(number) for number in range(MESSAGES)]


def test_a_consumer_gets_everything_over_a_kill_and_what_was_acked_durably_does_not_come_again(server, client):
    for _ in client.publish_many("t", map(payload, range(MESSAGES))):
        pass
    got = []
    with client.subscribe("t", "g") as subscription:
        while len(got) < 1000:
            messages = subscription.receive_many(50)
            got += [message.offset for message in messages]
            subscription.ack_many(messages)
        subscription.flush()
        settled = len(got)
        server.kill()
        server.start()
        with gevent.Timeout(60):
            while len(set(got)) < MESSAGES:
                messages = subscription.receive_many(50)
                got += [message.offset for message in messages]
                subscription.ack_many(messages)
    assert set(got) == set(range(MESSAGES))
    assert set(got[settled:]).isdisjoint(got[:settled])
    assert client.group("t", "g")["lag"] == 0
