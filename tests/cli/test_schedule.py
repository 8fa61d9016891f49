"""`portask schedule`, and the client under it, with messages that pika has delayed."""

import json
import re
from contextlib import suppress
from datetime import UTC, datetime

import pika
import pytest
from pika.exceptions import AMQPError

from portask.cli import schedule
from portask.client import Client, ClientError
from tests.native.peer import TextPeer
from tests.server_process import free_port

HOUR_MS = 3_600_000


class Delayed:
    """A server with an exchange that delays, and a channel to publish to it."""

    def __init__(self, start_server, directory, *flags):
        port = free_port()
        self.server = start_server(directory, f"--amqp-port={port}", *flags)
        self.connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", port))
        self.channel = self.connection.channel()
        self.channel.confirm_delivery()
        arguments = {"x-delayed-type": "direct"}
        self.channel.exchange_declare("later", "x-delayed-message", durable=True, arguments=arguments)
        self.channel.queue_declare("due", durable=True)
        self.channel.queue_bind("due", "later", "key")

    def publish(self, body, delay_ms, key="key"):
        properties = pika.BasicProperties(delivery_mode=2, headers={"x-delay": delay_ms})
        self.channel.basic_publish("later", key, body, properties)

    def close(self):
        with suppress(AMQPError):
            self.connection.close()
        self.server.stop()


@pytest.fixture
def delayed(start_server, tmp_path):
    delayed = Delayed(start_server, tmp_path / "data")
    yield delayed
    delayed.close()


@pytest.fixture
def command(run, delayed):
    """A function that runs `portask schedule` to the end that *code* says."""

    def command(*arguments, code=0):
        done = run("schedule", *arguments, PORTASK_SERVER=delayed.server.address)
        assert done.code == code, done.err
        return done

    return command


@pytest.fixture
def client(delayed):
    with Client(delayed.server.address) as client:
        yield client


class TestCommand:
    """What a person sees."""

    def test_a_delayed_message_is_listed_with_its_time_and_place(self, delayed, command):
        before_ms = datetime.now(UTC).timestamp() * 1000
        delayed.publish(b"12345", HOUR_MS)
        (listed,) = command("ls", "--output", "jsonl").jsonl

        assert before_ms + HOUR_MS - 1000 < listed.pop("due_ms") < before_ms + HOUR_MS + 60_000
        assert re.fullmatch(r"\d+-\d+-0", listed.pop("id"))
        assert listed == {"virtual_host": "/", "exchange": "later", "routing_keys": ["key"], "size_bytes": 5}

    def test_the_table_has_a_line_for_each_message(self, delayed, command):
        delayed.publish(b"12345", HOUR_MS, "one")
        delayed.publish(b"", 1 << 61, "two")
        head, first, second = (line.split() for line in command("ls").lines)

        assert head == ["DUE", "VIRTUAL", "HOST", "EXCHANGE", "ROUTING", "KEY", "SIZE", "BYTES", "ID"]
        assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first[0])
        assert first[1:5] == ["/", "later", "one", "5"]
        # No calendar has that year.
        assert int(second[0]) > 1 << 61
        assert second[1:5] == ["/", "later", "two", "0"]

    def test_a_list_that_is_cut_says_how_to_go_on(self, delayed, command):
        for number in range(5):
            delayed.publish(b"%d" % number, HOUR_MS)
        done = command("ls", "--count", "2")
        after = re.fullmatch(r"portask: more follow; go on with --after (\S+)\n", done.err)[1]
        rest = command("ls", "--after", after, "--output", "json")

        assert after == done.lines[-1].split()[-1]
        assert len(rest.json) == 3

    def test_a_whole_list_says_nothing_of_more(self, delayed, command):
        delayed.publish(b"1", HOUR_MS)

        assert command("ls", "--count", "1").err == ""

    def test_a_count_below_nothing_is_refused(self, command):
        assert "--count" in command("ls", "--count", "-1", code=2).err

    def test_a_long_list_comes_in_pages(self, delayed, client, monkeypatch):
        for number in range(7):
            delayed.publish(b"%d" % number, HOUR_MS)
        monkeypatch.setattr(schedule, "PAGE_MESSAGES", 3)
        told = []
        listed = list(schedule._messages(client, "", 0, told.append))

        assert len({message["id"] for message in listed}) == 7
        assert told == [3, 6, 7]

    def test_what_is_removed_is_never_delivered(self, delayed, command):
        delayed.publish(b"cancelled", 2000)
        delayed.publish(b"delivered", 2001)
        first = command("ls", "--output", "json").json[0]["id"]
        removed = command("rm", first, "--output", "jsonl")
        _, _, body = next(delayed.channel.consume("due", inactivity_timeout=30))

        assert removed.jsonl == [{"cancelled": first}]
        assert body == b"delivered"
        assert command("ls").lines[1:] == []

    def test_ids_that_are_not_there_are_named_and_the_others_cancelled(self, delayed, command):
        delayed.publish(b"1", HOUR_MS)
        message_id = command("ls", "--output", "json").json[0]["id"]
        done = command("rm", "1-2-3", message_id, "nonsense", code=3)

        assert done.err == (
            "portask: no delayed message 1-2-3, nonsense waits: fired, cancelled, or never there;"
            " 'portask schedule ls' shows those that do\n"
        )
        assert command("ls", "--output", "json").json == []

    def test_help_has_an_example(self, command):
        assert "portask schedule rm" in command("rm", "--help").out


class TestClient:
    """The methods under it."""

    def test_pages_follow_one_another(self, delayed, client):
        for number in range(5):
            delayed.publish(b"%d" % number, HOUR_MS)
        first = client.scheduled(max=2)
        second = client.scheduled(first[-1]["id"], 10)

        assert (len(first), len(second)) == (2, 3)
        assert client.scheduled(second[-1]["id"]) == []
        assert client.info()["scheduled"] == 5

    def test_a_message_is_cancelled_once(self, delayed, client):
        delayed.publish(b"1", HOUR_MS)
        (message,) = client.scheduled()
        client.cancel_scheduled(message["id"])

        with pytest.raises(ClientError, match="waits: it was fired or cancelled") as refusal:
            client.cancel_scheduled(message["id"])
        assert refusal.value.code == "NOT_FOUND"
        assert client.scheduled() == []

    def test_what_was_cancelled_stays_so_when_the_server_is_killed(self, delayed, client, start_server, tmp_path):
        for body in (b"cancelled", b"kept"):
            delayed.publish(body, HOUR_MS)
        cancelled, kept = client.scheduled()
        client.cancel_scheduled(cancelled["id"])
        delayed.server.process.kill()
        delayed.server.process.wait()
        again = start_server(tmp_path / "data")

        with Client(again.address) as second:
            assert second.scheduled() == [kept]

    def test_a_page_has_a_bound(self, client):
        for most in (0, 10_001):
            with pytest.raises(ClientError, match="max from 1 to 10000"):
                client.scheduled(max=most)


def test_the_verbs_are_there_in_text_mode(delayed):
    delayed.publish(b"123", HOUR_MS)
    peer = TextPeer(delayed.server.port)
    peer.send(b"SCHEDULED\n")
    assert peer.file.readline() == b"OK 1\n"
    listed = json.loads(peer.file.readline())
    peer.send(b"CANCEL %s\nCANCEL %s\n" % ((listed["id"].encode(),) * 2))

    assert listed["routing_keys"] == ["key"]
    assert peer.file.readline() == b"OK\n"
    assert peer.file.readline().startswith(b"ERR NOT_FOUND no delayed message ")
    peer.close()
