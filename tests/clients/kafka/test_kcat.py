"""kcat against the listener: an older librdkafka, which switches its features on by single versions."""

import json

import pytest

from tests.clients.kafka.kcat import Kcat


@pytest.fixture
def kcat(bootstrap):
    return Kcat(bootstrap)


def numbered(count):
    return [f"message {number}" for number in range(count)]


def lines(values):
    return "\n".join(values).encode() + b"\n"


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_what_was_produced_is_consumed_in_order(kcat, topic, codec):
    kcat("-P", "-t", topic, "-z", codec, data=lines(numbered(1000)))
    assert kcat("-C", "-t", topic, "-e", "-q").decode().splitlines() == numbered(1000)


@pytest.mark.parametrize("acks", ["0", "1", "all"])
def test_messages_are_consumed_whatever_the_acks(kcat, topic, acks):
    kcat("-P", "-t", topic, data=b"first\n")
    kcat("-P", "-t", topic, "-X", f"acks={acks}", data=lines(numbered(100)))
    assert kcat("-C", "-t", topic, "-c", "101", "-q").decode().splitlines() == ["first", *numbered(100)]


def test_an_idempotent_producer_writes_each_message_once(kcat, topic):
    kcat("-P", "-t", topic, "-X", "enable.idempotence=true", data=lines(numbered(1000)))
    assert kcat("-C", "-t", topic, "-e", "-q").decode().splitlines() == numbered(1000)


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_batches_go_out_compressed(kcat, topic, codec):
    kcat("-P", "-t", topic, "-z", codec, "-X", "debug=msg", data=lines(["x" * 1000] * 100))
    batches = [line for line in kcat.log.splitlines() if "Produce MessageSet with" in line]
    assert batches
    assert all(line.endswith(f"{codec})") for line in batches)


def test_topics_and_brokers_are_listed(kcat, topic):
    kcat("-P", "-t", topic, data=b"one\n")
    listed = json.loads(kcat("-L", "-J"))
    (broker,) = listed["brokers"]
    assert broker["name"] == kcat.bootstrap
    (found,) = [each for each in listed["topics"] if each["topic"] == topic]
    node = broker["id"]
    assert found["partitions"] == [
        {"partition": 0, "leader": node, "replicas": [{"id": node}], "isrs": [{"id": node}]},
    ]


def test_one_topic_is_listed(kcat, topic):
    kcat("-P", "-t", topic, data=b"one\n")
    assert [each["topic"] for each in json.loads(kcat("-L", "-J", "-t", topic))["topics"]] == [topic]


def test_keys_headers_and_nulls_are_intact(kcat, topic):
    kcat("-P", "-t", topic, "-K:", "-H", "kind=note", "-H", "kind=again", data=b"a key:a value\n")
    kcat("-P", "-t", topic, "-K:", "-Z", data=b"gone:\n")
    first, second = kcat.consume(topic)
    assert (first["key"], first["payload"]) == ("a key", "a value")
    assert first["headers"] == ["kind", "note", "kind", "again"]
    assert (second["key"], second["payload"]) == ("gone", None)
    assert [first["offset"], second["offset"]] == [0, 1]


def test_offsets_are_found_by_time(kcat, topic):
    for number in range(3):
        kcat("-P", "-t", topic, data=b"%d\n" % number)
    times = [message["ts"] for message in kcat.consume(topic)]

    def query(time):
        return json.loads(kcat("-Q", "-J", "-t", f"{topic}:0:{time}"))[topic]["0"]["offset"]

    assert query(times[1]) == 1
    assert query(times[0] - 1000) == 0
    assert query(-1) == 3
    assert query(-2) == 0


def test_reading_begins_at_an_offset_near_the_end_or_at_a_time(kcat, topic):
    kcat("-P", "-t", topic, data=lines(numbered(10)))
    time = kcat.consume(topic)[0]["ts"]
    for start, expected in (("7", [7, 8, 9]), ("-2", [8, 9]), (f"s@{time}", list(range(10))), ("end", [])):
        assert [message["offset"] for message in kcat.consume(topic, "-o", start)] == expected


def test_a_group_reads_every_partition_and_goes_on_where_it_was(kcat, topic, group):
    kcat("-P", "-t", topic, data=lines(numbered(20)))
    words = ("-G", group, "-q", "-X", "auto.offset.reset=earliest", "-c")
    assert kcat(*words, "12", topic).decode().splitlines() == numbered(12)
    assert kcat(*words, "8", topic).decode().splitlines() == numbered(20)[12:]


def test_a_large_message_is_intact(kcat, topic, tmp_path):
    path = tmp_path / "value"
    path.write_bytes(bytes(range(256)) * 3900)
    kcat("-P", "-t", topic, str(path))
    assert kcat("-C", "-t", topic, "-c", "1", "-q", "-D", "") == path.read_bytes()
