"""What a consumer gets of what is stored: what was sent, wherever it may not know zstd."""

import random

import pytest

from handlers.kafka.conversion import encode
from handlers.kafka.record_batch import NO_COMPRESSION, ZSTD, read_header
from handlers.kafka.records import decode_records
from handlers.kafka.stored import POOL_BYTES
from tests.kafka.batches import batch, placed, split
from tests.kafka.record_samples import NOW, SAMPLES, DefaultRecordBatch, build

LARGE = batch(b'{"name": "value", "number": 1}' * 200)
KNOWN = ["apache-kafka-java", "kgo"]
OTHERS = ["librdkafka", "sarama", "kafka-python", "kafkajs"]


@pytest.fixture(params=["8MiB", "0"], ids=["cached", "read"])
def flags(request):
    """Flags that keep what is fetched in memory, or have it read from storage."""
    return ["--tail-cache-bytes", request.param]


def fetch_all(peer):
    """The batches of topic t, read from the start."""
    found, offset = [], 0
    while some := split(peer.fetch("t", offset).records):
        found += some
        offset = read_header(some[-1]).base_offset + read_header(some[-1]).count
    return found


def compressions(batches):
    return [read_header(one).compression for one in batches]


def serve_some(serve, *flags, software=None, made=(LARGE, LARGE, LARGE)):
    """A peer of a broker that holds *made*."""
    served = serve(*flags)
    served.topic(max_batch_bytes=str(1 << 26))
    producer = served.peer()
    for one in made:
        assert producer.produce("t", one).error_code == 0
    peer = served.peer()
    if software is not None:
        peer.introduce(software)
    return peer


def at_their_places(made):
    """The batches *made* as they are fetched."""
    return [placed(one, sum(read_header(before).count for before in made[:number])) for number, one in enumerate(made)]


@pytest.mark.parametrize("software", [None, *OTHERS])
def test_a_client_that_may_not_know_zstd_gets_what_was_sent(serve, flags, software):
    made = [build(SAMPLES), LARGE, batch(b"small"), LARGE]

    assert fetch_all(serve_some(serve, *flags, software=software, made=made)) == at_their_places(made)


@pytest.mark.parametrize("software", KNOWN)
def test_a_client_that_knows_zstd_gets_what_is_stored(serve, flags, software):
    found = fetch_all(serve_some(serve, *flags, software=software))

    assert compressions(found) == [ZSTD] * 3
    assert sum(map(len, found)) < len(LARGE)


@pytest.mark.parametrize("software", [*KNOWN, *OTHERS])
def test_nobody_gets_zstd_that_was_not_sent_so_where_that_is_configured(serve, flags, software):
    peer = serve_some(serve, *flags, "--kafka-fetch-compression", "never", software=software)

    assert fetch_all(peer) == at_their_places([LARGE] * 3)


@pytest.mark.parametrize("software", [None, *OTHERS])
def test_everybody_gets_what_is_stored_where_that_is_configured(serve, flags, software):
    peer = serve_some(serve, *flags, "--kafka-fetch-compression", "always", software=software)

    assert compressions(fetch_all(peer)) == [ZSTD] * 3


@pytest.mark.parametrize("compression", range(1, 5))
@pytest.mark.parametrize("choice", ["auto", "always", "never"])
def test_what_was_sent_compressed_is_given_as_it_was_sent(serve, flags, compression, choice):
    made = [build([(NOW, b"k", bytes(2000), [])], compression)] * 2
    peer = serve_some(serve, *flags, "--kafka-fetch-compression", choice, made=made)

    assert fetch_all(peer) == at_their_places(made)


def test_a_batch_that_takes_long_to_decompress_is_given_too(serve, flags):
    made = [batch(bytes(POOL_BYTES), bytes(POOL_BYTES))]

    assert fetch_all(serve_some(serve, *flags, made=made)) == at_their_places(made)


@pytest.mark.parametrize("software", [*KNOWN, *OTHERS])
def test_messages_of_other_protocols_are_made_batches_without_compression(serve, flags, software, clock):
    served = serve(*flags, clock=clock)
    partition = served.topic().partitions[0]
    records = [b"plain", (b"value", b"key"), (None, b"gone"), (b"v", b"k", ["name", b"x"], NOW - 5)]
    served.broker.publish(partition, records, 100)
    served.broker.publish(partition, [b"x" * 5000], 5000)
    peer = served.peer()
    peer.introduce(software)
    found = fetch_all(peer)

    assert found == [
        encode(records, 0, clock.now_ms(), 0),
        encode([b"x" * 5000], 4, clock.now_ms(), 0),
    ]
    assert compressions(found) == [NO_COMPRESSION] * 2


def test_clients_read_what_came_by_another_protocol(serve, clock):
    served = serve(clock=clock)
    served.broker.publish(served.topic().partitions[0], [(b"value", b"key", ["name", b"x"]), b"plain"], 100)
    records = list(DefaultRecordBatch(bytes(served.peer().fetch("t").records)))

    assert [(each.offset, each.timestamp, each.key, each.value, each.headers) for each in records] == [
        (0, clock.now_ms(), b"key", b"value", [("name", b"x")]),
        (1, clock.now_ms(), None, b"plain", []),
    ]


def test_batches_of_all_protocols_stand_in_one_answer(serve, flags):
    served = serve(*flags)
    partition = served.topic().partitions[0]
    peer = served.peer()
    peer.produce("t", batch(b"1"))
    served.broker.publish(partition, [b"2", b"3"], 2)
    peer.produce("t", LARGE)
    found = fetch_all(peer)

    assert [(read_header(one).base_offset, read_header(one).count) for one in found] == [(0, 1), (1, 2), (3, 1)]
    assert [field[3] for field in decode_records(found[1][61:], 2, 1)] == [b"2", b"3"]


def test_a_reload_changes_who_gets_zstd(serve, flags):
    served = serve(*flags)
    served.topic()
    peer = served.peer()
    peer.produce("t", LARGE)
    before = compressions(fetch_all(peer))
    served.broker.settings.kafka_fetch_compression = "always"

    assert (before, compressions(fetch_all(peer))) == ([NO_COMPRESSION], [ZSTD])


def test_an_answer_is_not_small_when_nothing_grows(serve, flags):
    made = [batch(random.Random(number).randbytes(10_000)) for number in range(20)]
    peer = serve_some(serve, *flags, made=made)
    found = peer.fetch("t", partition_max_bytes=150_000).records

    assert 8 <= len(split(found)) <= 14


def test_an_answer_is_no_larger_than_it_may_be_when_much_grows(serve, flags):
    made = [batch(bytes(10_000))] * 20
    found = serve_some(serve, *flags, made=made).fetch("t", partition_max_bytes=55_000).records

    assert len(split(found)) == 5
