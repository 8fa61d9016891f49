"""kafka-go: Writer, Reader, and a connection with the versions that it always sends."""

import pytest

from tests.clients.program import Program, column

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


@pytest.fixture
def kafka_go(go_programs, bootstrap):
    return Program([go_programs / "kafkago"], bootstrap)


@pytest.fixture
def orders(kafka_go, topic):
    """A topic with one partition."""
    kafka_go("create", group=topic)
    return topic


def numbers(rows):
    return [int(row["value"].removeprefix("value ")) for row in rows if "value" in row]


@pytest.mark.parametrize("codec", CODECS)
def test_what_a_writer_sends_a_reader_gets(kafka_go, orders, codec):
    assert column(kafka_go("write", topic=orders, count=3, codec=codec), "offset") == [0, 1, 2]
    assert kafka_go("read", topic=orders, count=3)[:3] == [
        {"partition": 0, "offset": n, "key": f"key {n}", "value": f"value {n}", "headers": {"number": str(n)}}
        for n in range(3)
    ]


@pytest.mark.parametrize("codec", CODECS)
def test_what_is_written_on_a_connection_is_read_on_a_connection(kafka_go, orders, codec):
    kafka_go("conn-write", topic=orders, count=3, codec=codec)
    assert numbers(kafka_go("conn-read", topic=orders, count=3)) == [0, 1, 2]


def test_a_reader_starts_at_the_offset_that_it_asks_for_and_knows_its_lag(kafka_go, orders):
    kafka_go("write", topic=orders, count=10)
    *got, lag = kafka_go("read", topic=orders, offset=6, count=3)
    assert (numbers(got), lag) == ([6, 7, 8], {"lag": 1})


def test_a_group_goes_on_behind_what_it_committed(kafka_go, orders, group):
    kafka_go("write", topic=orders, count=10)
    first = kafka_go("group", topic=orders, group=group, count=6)
    assert kafka_go("committed", topic=orders, group=group) == [{"partition": 0, "offset": 6}]
    second = kafka_go("group", topic=orders, group=group, count=4)
    assert (numbers(first), numbers(second)) == ([0, 1, 2, 3, 4, 5], [6, 7, 8, 9])


def test_a_connection_tells_the_ends_of_its_partition(kafka_go, orders):
    kafka_go("write", topic=orders, count=10)
    assert kafka_go("offsets", topic=orders) == [{"start": 0, "end": 10}]


def test_a_connection_creates_describes_and_deletes_a_topic(kafka_go, topic):
    kafka_go("create", group=topic, partitions=3)
    described = kafka_go("topic", topic=topic)
    assert column(described, "partition") == [0, 1, 2]
    assert column(described, "replicas") == [1, 1, 1]
    kafka_go("delete", group=topic)
    assert "Unknown Topic Or Partition" in kafka_go.failure("delete", group=topic)


def test_a_connection_finds_the_controller_among_the_brokers(kafka_go, bootstrap):
    (described,) = kafka_go("cluster")
    assert described["brokers"] == 1
    assert described["port"] == int(bootstrap.rpartition(":")[2])


def test_a_connection_reads_the_oldest_form_of_the_versions(kafka_go):
    assert {0, 1, 2, 3, *range(8, 17), 18} <= set(column(kafka_go("versions"), "key"))
