"""A compacted topic as Kafka's clients see it, and others who read what they sent."""

import pytest

from handlers.kafka.record_batch import read_header
from portask.message import to_message
from portask.partition import cut_runs
from portask.storage.local import LocalOptions, LocalStorage
from portask.subscriptions.subscription import Consumer
from tests.kafka.batches import offsets, split
from tests.kafka.record_samples import NOW, build

CONFIG = {"cleanup_policy": "compact", "min_cleanable_dirty_ratio": "0"}


@pytest.fixture(params=["memory", "local"])
def served(request, serve, tmp_path):
    storage = LocalStorage(LocalOptions(tmp_path / "data")) if request.param == "local" else None
    return serve("--compaction-interval-ms", "86400000", storage=storage)


@pytest.fixture
def topic(served):
    return served.topic("t", 1, **CONFIG)


def produce(peer, *pairs, compression=0, timestamps=None, producer=(-1, -1, -1)):
    times = timestamps or [NOW] * len(pairs)
    records = [(time, key, value, []) for time, (key, value) in zip(times, pairs, strict=True)]
    assert peer.produce("t", build(records, compression, producer=producer)).error_code == 0


def compact(served, topic):
    served.broker.storage.rewritable(topic.partitions[0].log, gather=True)
    assert served.broker.compaction.apply() == 1


def stored(topic):
    return [
        (offset, message.key, message.payload)
        for batch in topic.partitions[0].read(0, 1 << 20)
        for run in cut_runs(batch, 0)
        for offset, message in enumerate(map(to_message, run.records), run.base_offset)
    ]


@pytest.mark.parametrize("compression", range(5), ids=["none", "gzip", "snappy", "lz4", "zstd"])
def test_the_newest_record_of_each_key_is_left_at_its_offset(served, peer, topic, compression):
    produce(peer, (b"a", b"1" * 200), (b"b", b"2" * 200), (b"a", b"3" * 200), compression=compression)
    produce(peer, (b"c", b"4"), (b"a", None), compression=compression)
    produce(peer, (b"c", b"5"), compression=compression)
    compact(served, topic)

    assert stored(topic) == [(1, b"b", b"2" * 200), (4, b"a", None), (5, b"c", b"5")]


def test_fetched_batches_stand_for_their_old_offsets_and_lead_to_the_end(served, peer, topic):
    produce(peer, (b"a", b"1" * 200), (b"b", b"2" * 200), (b"a", b"3" * 200))
    produce(peer, (b"b", b"4"), (b"a", b"5"), (b"a", b"6"))
    compact(served, topic)
    answer = peer.fetch("t", 0)

    assert offsets(answer.records) == [(3, 5)]
    assert [read_header(one).count for one in split(answer.records)] == [2]
    assert answer.high_watermark == 6
    for offset in range(6):
        assert offsets(peer.fetch("t", offset).records) == [(3, 5)]


def test_what_is_left_keeps_its_producer_and_sequences(served, peer, topic):
    produce(peer, (b"a", b"1"), (b"b", b"2"), producer=(7, 0, 0))
    produce(peer, (b"a", b"3"), producer=(7, 0, 2))
    compact(served, topic)
    (first, _) = split(peer.fetch("t", 0).records)
    header = read_header(first)
    produce(peer, (b"c", b"4"), producer=(7, 0, 3))

    assert (header.producer_id, header.base_sequence, header.last_offset_delta, header.count) == (7, 0, 1, 1)


def test_a_batch_that_is_kept_in_part_is_fetched_whatever_its_timestamps(served, peer, topic):
    times = [NOW, NOW - 10**9, *[NOW + number for number in range(50)]]
    produce(peer, *[(b"x" if not number else b"%d" % number, b"v") for number in range(52)], timestamps=times)
    produce(peer, (b"x", b"v"))
    compact(served, topic)
    first, _ = split(peer.fetch("t", 0).records)

    assert read_header(first).count == 51
    assert len(stored(topic)) == 52


def test_a_subscription_to_what_kafka_sent_comes_to_its_end(served, peer, topic, wait_until):
    produce(peer, (b"a", b"1"), (b"b", b"2"), (b"a", b"3"), (b"c", b"4"), (b"b", b"5"))
    compact(served, topic)
    subscription = served.broker.subscribe(topic, "billing")
    got = []

    def deliver(deliveries):
        got.extend((delivery.base_offset, len(delivery.records)) for delivery in deliveries)
        for delivery in deliveries:
            subscription.ack(consumer, 0, delivery.base_offset, delivery.next_offset - 1)

    consumer = Consumer(deliver, 2, lambda error: None)
    subscription.attach(consumer)
    wait_until(lambda: not subscription.feeds[0].lag())

    assert got == [(2, 2), (4, 1)]


def test_what_other_protocols_sent_is_compacted_and_fetched(served, peer, topic):
    partition = topic.partitions[0]
    served.broker.publish(partition, [[b"1", b"a"], [b"2", b"b"], [b"3", b"a"], b"4"], 4)
    compact(served, topic)
    answer = peer.fetch("t", 0)

    assert offsets(answer.records) == [(0, 3)]
    assert [read_header(one).count for one in split(answer.records)] == [3]
