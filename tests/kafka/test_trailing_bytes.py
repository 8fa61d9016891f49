"""Bytes behind a request, which Kafka does not look at."""

from handlers.kafka.tables import METADATA
from tests.kafka.peer import decode


def test_metadata_of_all_topics_as_librdkafka_asks_for_them(topic, peer):
    # As librdkafka 2.16.0 sends it: an empty array of four bytes where one is the whole null.
    header = bytes.fromhex("0003000d00000003000772646b61666b6100")
    peer.send_frame(header + bytes.fromhex("00000000010000"))

    correlation, answer = decode(METADATA, 13, peer.read_frame())

    assert correlation == 3
    assert [found.name for found in answer.topics] == ["t"]
