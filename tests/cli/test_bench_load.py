"""The load of `portask bench`, run in this process against a real broker."""

import json
import multiprocessing
import random
import socket
import time

import pytest

from portask.cli import bench, bench_load
from portask.cli.bench_load import Peer, Plan, Tally, consume, produce
from portask.cli.outcome import CommandError
from portask.client import Client


@pytest.fixture
def plan(server, topic):
    return Plan(("127.0.0.1", server.port), topic, 250, 100, 100, 1000, 0.0, False, 1)


def begin():
    """Nothing to wait for."""


def counted(left):
    """A count of messages that are left, as consumers share it."""

    def settled(count):
        nonlocal left
        left -= count
        return left

    return settled


def test_every_frame_is_confirmed(plan, server):
    tally = produce(plan, begin)

    assert (tally.messages, len(tally.latencies)) == (250, 3)
    with Client(server.address) as client:
        assert client.topic(plan.topic)["partitions"][0]["high_watermark"] == 250


def test_fewer_messages_than_a_frame_holds_are_one_frame(plan):
    assert len(produce(plan._replace(messages=7), begin).latencies) == 1


def test_small_window_is_kept_to(plan):
    assert len(produce(plan._replace(window=1, batch=10), begin).latencies) == 25


def test_rate_is_kept_to(plan):
    tally = produce(plan._replace(messages=20, batch=1, rate=1000.0, stamped=True), begin)

    assert tally.ended - tally.started >= 0.019


def test_everything_is_settled(plan, server):
    produce(plan, begin)

    tally = consume(plan, begin, counted(250))

    assert tally.messages == 250
    with Client(server.address) as client:
        assert client.group(plan.topic, bench_load.GROUP)["lag"] == 0


def test_stamped_messages_tell_how_long_they_took(plan):
    plan = plan._replace(stamped=True, batch=1, messages=20)
    produce(plan, begin)

    tally = consume(plan, begin, counted(20))

    assert len(tally.latencies) == 20
    assert all(0 < latency < 60 for latency in tally.latencies)


def test_consumer_ends_when_the_others_have_got_everything(plan):
    with_nothing = consume(plan, begin, counted(0))

    assert with_nothing.messages == 0


def test_consumer_that_gets_nothing_gives_up(plan, monkeypatch):
    monkeypatch.setattr(bench_load, "PATIENCE_S", 0.01)

    with pytest.raises(CommandError, match="nothing was delivered"):
        consume(plan, begin, counted(1))


def test_deleted_topic_ends_the_consumer(plan, server):
    with Client(server.address) as client:
        client.create_topic(plan.topic)
    asked = []

    def settled(count):
        if not asked:
            asked.append(count)
        elif len(asked) == 1:
            asked.append(count)
            with Client(server.address) as client:
                client.delete_topic(plan.topic)
        return 1

    with pytest.raises(CommandError, match="UNKNOWN_TOPIC"):
        consume(plan, begin, settled)


def test_refused_publish_is_told_with_the_brokers_words(plan):
    with pytest.raises(CommandError, match="TOO_LARGE"):
        produce(plan._replace(size=17 * 1024 * 1024, batch=1, messages=1), begin)


def test_peer_that_says_nothing_or_hangs_up_is_told(monkeypatch):
    monkeypatch.setattr(bench_load, "PATIENCE_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with pytest.raises(CommandError, match="said nothing"):
            Peer(listener.getsockname())
        listener.accept()[0].close()


@pytest.fixture
def link():
    """Both ends of a pipe as the processes of a load have it."""
    near, far = multiprocessing.Pipe(duplex=False)
    yield near, far
    near.close()


def test_result_of_a_job_is_sent(link):
    tally = Tally(1, 0.0, 1.0, [])

    bench.run_job(lambda: tally, link[1], lambda: None)

    assert bench.receive_result(link[0]) == tally


def test_failure_of_a_job_is_sent_and_ends_the_waiting_of_the_others(link):
    aborted = []

    def job():
        raise CommandError("it broke")

    bench.run_job(job, link[1], lambda: aborted.append(1))

    assert (bench.receive_result(link[0]), aborted) == ("it broke", [1])


class Dead:
    """The near end of a pipe whose far end is gone."""

    def recv(self):
        raise EOFError

    def close(self):
        """Nothing to close."""


def test_job_that_dies_is_noticed():
    assert bench.receive_result(Dead()) == "a process of the load died"


def test_percentiles_are_those_of_all_samples():
    tallies = [Tally(1, 0.0, 1.0, [number / 1000 for number in range(start, 101, 2)]) for start in (1, 2)]

    assert bench._percentiles(tallies) == {"p50": 50.0, "p95": 95.0, "p99": 99.0, "p99.9": 100.0, "max": 100.0}
    assert bench._percentiles([]) == {}


def test_payload_has_its_size_and_a_stamp():
    stamp = time.monotonic_ns()
    data = bench_load.payload(random.Random(1), 7, 200, stamp)

    assert (len(data), json.loads(data)["t"], bench_load._stamp(data)) == (200, stamp, stamp)
