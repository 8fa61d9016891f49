"""What is known of a client's library on connections that do not say it."""

import pytest

from handlers.kafka import tables
from handlers.kafka.record_batch import NO_COMPRESSION, ZSTD, read_header
from handlers.kafka.software import MAX_CLIENTS, UNKNOWN, SoftwareNames
from tests.kafka.batches import batch

LARGE = batch(b'{"name": "value", "number": 1}' * 200)


@pytest.fixture
def stored(served):
    """A broker that holds a batch which it has compressed."""
    served.topic()
    assert served.peer().produce("t", LARGE).error_code == 0
    return served


def compression(peer):
    return read_header(peer.fetch("t").records).compression


def test_a_connection_that_says_nothing_is_of_the_library_of_its_client(stored):
    stored.peer(client_id="app").introduce("kgo")

    assert compression(stored.peer(client_id="app")) == ZSTD
    assert compression(stored.peer(client_id="other")) == NO_COMPRESSION


def test_a_connection_that_asks_without_saying_is_of_no_known_library(stored):
    stored.peer(client_id="app").introduce("kgo")
    peer = stored.peer(client_id="app")
    peer.ask(tables.API_VERSIONS, 2)

    assert compression(peer) == NO_COMPRESSION


def test_two_libraries_under_one_client_id_are_not_believed(stored):
    stored.peer(client_id="app").introduce("kgo")
    stored.peer(client_id="app").introduce("kafka-python")

    assert compression(stored.peer(client_id="app")) == NO_COMPRESSION


def test_a_connection_that_says_it_is_believed_whatever_the_others_are(stored):
    stored.peer(client_id="app").introduce("kafka-python")
    peer = stored.peer(client_id="app")
    peer.introduce("kgo")

    assert compression(peer) == ZSTD


def test_clients_without_an_id_say_nothing_of_each_other(stored):
    stored.peer(client_id="").introduce("kgo")

    assert compression(stored.peer(client_id="")) == NO_COMPRESSION


def test_the_oldest_clients_are_forgotten():
    names = SoftwareNames()
    for number in range(MAX_CLIENTS + 1):
        names.announce(("host", str(number)), "kgo")

    assert names.find(("host", "0")) == UNKNOWN
    assert names.find(("host", "1")) == names.find(("host", str(MAX_CLIENTS))) == "kgo"
