"""Fetch sessions (KIP-227): what is told once, what comes back, and when a session is over."""

from itertools import pairwise

import pytest

from handlers.kafka import fetch_session, tables
from handlers.kafka.error_codes import ErrorCode
from handlers.kafka.fetch_session import IDLE_S, MAX_EPOCH, FetchSession
from tests.kafka.batches import batch, offsets
from tests.kafka.peer import fetch_request

LONG_MS = 300_000
VERSIONS = range(7, 19)


class Consumer:
    """A client with a fetch session."""

    def __init__(self, peer, version=12):
        self.peer = peer
        self.version = version
        self.session = (0, 0)

    def ask(self, places=None, *, session=None, **fields):
        """The response to the next request of the session, or of *session*."""
        request = fetch_request(places or {}, self.version, session=session or self.session, **fields)
        response = self.peer.ask(tables.FETCH, self.version, request)
        if not response.error_code:
            self.session = (response.session_id, self.session[1] + 1)
        return response

    def fetch(self, places=None, **fields):
        """What the response says of which partitions: errors or offsets of batches."""
        response = self.ask(places, **fields)
        assert response.error_code == ErrorCode.NONE
        return {
            (topic.topic_id if self.version >= 13 else topic.topic, part.partition_index): ErrorCode(part.error_code)
            or offsets(part.records)
            for topic in response.responses
            for part in topic.partitions
        }


@pytest.fixture
def topic(served):
    return served.topic(partitions=4)


@pytest.fixture
def consumer(served, topic):
    return Consumer(served.peer())


def fill(peer, partition=0, name="t", size=100):
    assert peer.produce(name, batch(bytes(size)), partition=partition).error_code == 0


def begin(consumer, *numbers):
    """Begin a session on partitions of topic t that has told all that there is to tell."""
    consumer.fetch({("t", number): 0 for number in numbers})
    assert consumer.session[0] > 0


# -- life ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_begins_with_all_partitions_and_goes_on_with_news_only(served, topic, version):
    consumer, producer = Consumer(served.peer(), version), served.peer()
    name = bytes.fromhex(topic.id) if version >= 13 else "t"

    assert consumer.fetch({(name, 0): 0, (name, 1): 0}) == {(name, 0): [], (name, 1): []}
    assert consumer.session[0] > 0
    assert consumer.fetch() == {}
    fill(producer, 1)
    assert consumer.fetch() == {(name, 1): [(0, 0)]}


def test_without_a_session_everything_is_told_every_time(consumer):
    consumer.session = (0, -1)

    for _ in range(2):
        response = consumer.ask({("t", 0): 0}, session=(0, -1))
        assert (response.session_id, len(response.responses)) == (0, 1)


def test_before_version_7_there_are_no_sessions(served, topic):
    request = fetch_request({("t", 0): 0}, 6)

    assert served.peer().ask(tables.FETCH, 6, request).session_id == 0
    assert len(served.handler.fetch_sessions) == 0


def test_an_unknown_session_is_told_so(consumer):
    assert consumer.ask(session=(12345, 1)).error_code == ErrorCode.FETCH_SESSION_ID_NOT_FOUND
    assert consumer.ask(session=(0, 1)).error_code == ErrorCode.FETCH_SESSION_ID_NOT_FOUND


@pytest.mark.parametrize("step", [-1, 1, 100])
def test_an_epoch_out_of_turn_is_told_so_and_the_session_goes_on(consumer, step):
    begin(consumer, 0)
    session_id, epoch = consumer.session
    consumer.fetch()
    response = consumer.ask(session=(session_id, epoch + 1 + step))

    assert (response.error_code, response.session_id) == (ErrorCode.INVALID_FETCH_SESSION_EPOCH, 0)
    assert consumer.fetch() == {}


def test_the_epoch_after_the_last_is_1(served, consumer):
    begin(consumer, 0)
    (kept,) = served.handler.fetch_sessions._sessions.values()
    kept.epoch = MAX_EPOCH
    consumer.ask(session=(consumer.session[0], MAX_EPOCH))
    consumer.session = (consumer.session[0], 1)

    assert consumer.fetch() == {}


def test_a_session_is_ended_by_its_client(served, consumer):
    begin(consumer, 0)
    response = consumer.ask({("t", 1): 0}, session=(consumer.session[0], -1))

    assert (response.session_id, len(response.responses)) == (0, 1)
    assert len(served.handler.fetch_sessions) == 0


def test_a_session_is_ended_by_its_successor(served, consumer):
    begin(consumer, 0)
    first = consumer.session[0]
    response = consumer.ask({("t", 1): 0}, session=(first, 0))

    assert response.session_id not in {0, first}
    assert len(served.handler.fetch_sessions) == 1
    assert consumer.ask(session=(first, 1)).error_code == ErrorCode.FETCH_SESSION_ID_NOT_FOUND


def test_a_session_of_nothing_is_none(consumer):
    assert consumer.ask().session_id == 0


def test_a_session_that_has_forgotten_everything_is_over(served, consumer):
    begin(consumer, 0, 1)

    assert consumer.ask(forgotten=[("t", 0), ("t", 1)]).session_id == 0
    assert len(served.handler.fetch_sessions) == 0


def test_sessions_survive_their_connection(served, consumer):
    begin(consumer, 0)
    consumer.peer.close()
    consumer.peer = served.peer()

    assert consumer.fetch() == {}


def test_ids_are_not_guessed_from_others(served, topic):
    consumers = [Consumer(served.peer()) for _ in range(5)]
    for consumer in consumers:
        begin(consumer, 0)

    assert all(abs(one.session[0] - other.session[0]) > 1 for one, other in pairwise(consumers))


def test_closing_the_listener_ends_all_sessions(served, consumer):
    begin(consumer, 0)
    sessions = served.handler.fetch_sessions
    served.handler.close(1)

    assert len(sessions) == 0


# -- what changes ----------------------------------------------------------------------------------


def test_partitions_are_added_changed_and_forgotten(served, consumer):
    producer = served.peer()
    for partition in (0, 1, 2):
        fill(producer, partition)
    begin(consumer, 0, 1)

    assert consumer.fetch({("t", 2): 0}) == {("t", 2): [(0, 0)], ("t", 0): [(0, 0)], ("t", 1): [(0, 0)]}
    assert consumer.fetch({("t", 0): 1, ("t", 1): 1}) == {("t", 2): [(0, 0)]}
    assert consumer.fetch(forgotten=[("t", 2)]) == {}


def test_what_a_request_adds_and_forgets_is_forgotten(served, consumer):
    fill(served.peer())
    begin(consumer, 0, 1)

    assert consumer.fetch({("t", 0): 0}, forgotten=[("t", 0)]) == {}


def test_forgetting_what_was_never_told_is_nothing(consumer):
    begin(consumer, 0)

    assert consumer.fetch(forgotten=[("t", 3), ("u", 0)]) == {}


def test_an_added_partition_is_told_at_once(consumer):
    begin(consumer, 0)

    assert consumer.fetch({("t", 1): 0}) == {("t", 1): []}


def test_a_log_that_was_trimmed_is_news(consumer, served, topic):
    fill(served.peer())
    begin(consumer, 0)
    consumer.fetch({("t", 0): 1})
    topic.partitions[0].trimmed(1)

    assert consumer.ask().responses[0].partitions[0].log_start_offset == 1
    assert consumer.fetch() == {}


def test_an_error_is_told_every_time(consumer):
    consumer.fetch({("t", 0): 5})

    assert [consumer.fetch() for _ in range(2)] == [{("t", 0): ErrorCode.OFFSET_OUT_OF_RANGE}] * 2


def test_news_of_a_deleted_topic_are_that_it_is_unknown(consumer, served):
    begin(consumer, 0)
    served.broker.delete_topic("t")

    assert consumer.fetch() == {("t", 0): ErrorCode.UNKNOWN_TOPIC_OR_PARTITION}


def test_a_topic_that_is_made_again_is_found_by_its_name(consumer, served):
    begin(consumer, 0)
    served.broker.delete_topic("t")
    consumer.fetch()
    served.topic("t")
    fill(served.peer())

    assert consumer.fetch() == {("t", 0): [(0, 0)]}


def test_a_topic_that_appears_later_is_found(consumer, served):
    assert consumer.fetch({("u", 0): 0}) == {("u", 0): ErrorCode.UNKNOWN_TOPIC_OR_PARTITION}
    served.topic("u")

    assert consumer.fetch() == {("u", 0): []}


def test_a_topic_id_that_appears_later_is_found(served, topic, monkeypatch):
    consumer = Consumer(served.peer(), 13)
    topic_id = bytes.fromhex(topic.id)
    held = served.broker.catalog._by_id.pop(topic.id)

    assert consumer.fetch({(topic_id, 0): 0}) == {(topic_id, 0): ErrorCode.UNKNOWN_TOPIC_ID}
    assert consumer.session[0] > 0
    served.broker.catalog._by_id[topic.id] = held
    assert consumer.fetch() == {(topic_id, 0): []}


@pytest.mark.parametrize(("first", "then"), [(12, 13), (13, 12), (7, 18), (18, 7)])
@pytest.mark.parametrize("adds", [True, False])
def test_a_session_of_names_knows_no_ids_and_the_other_way_round(served, topic, first, then, adds):
    consumer = Consumer(served.peer(), first)
    names = {12: "t", 7: "t", 13: bytes.fromhex(topic.id), 18: bytes.fromhex(topic.id)}
    consumer.fetch({(names[first], 0): 0})
    consumer.version = then
    response = consumer.ask({(names[then], 1): 0} if adds else {})

    assert response.error_code == ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR


# -- turns -----------------------------------------------------------------------------------------


def test_partitions_take_turns_when_not_all_fit(consumer, served):
    producer = served.peer()
    for partition in range(4):
        for _ in range(3):
            fill(producer, partition, size=1000)
    given = [next(iter(consumer.fetch({("t", number): 0 for number in range(4)}, max_bytes=1)))]
    response = consumer.ask(max_bytes=1)
    for _ in range(7):
        (part,) = [part for part in response.responses[0].partitions if len(part.records)]
        given.append(("t", part.partition_index))
        response = consumer.ask(max_bytes=1)

    assert given == [("t", number) for number in (0, 1, 2, 3)] * 2


def test_a_session_that_waits_is_woken_by_what_it_holds(consumer, served, topic, wait_until):
    begin(consumer, 0, 1)
    producer = served.peer()
    consumer.peer.send(tables.FETCH, 12, fetch_request({}, 12, session=consumer.session, max_wait_ms=LONG_MS))
    wait_until(lambda: topic.partitions[1]._watchers)
    fill(producer, 2)
    fill(producer, 1)
    response = consumer.peer.read(tables.FETCH, 12)

    assert [part.partition_index for part in response.responses[0].partitions] == [1]


def test_a_session_watches_a_partition_no_longer_that_it_has_forgotten(consumer, topic):
    begin(consumer, 0, 1)
    consumer.fetch(max_wait_ms=1)
    assert [len(partition._watchers) for partition in topic.partitions] == [1, 1, 0, 0]
    consumer.fetch(forgotten=[("t", 0)], max_wait_ms=1)

    assert [len(partition._watchers) for partition in topic.partitions] == [0, 1, 0, 0]
    consumer.ask(session=(consumer.session[0], -1))
    assert [len(partition._watchers) for partition in topic.partitions] == [0, 0, 0, 0]


def test_two_connections_on_one_session_do_not_break_each_other(consumer, served, topic, wait_until, caplog):
    fill(served.peer())
    begin(consumer, 0, 1)
    session_id, epoch = consumer.session
    consumer.peer.send(
        tables.FETCH,
        12,
        fetch_request({}, 12, session=(session_id, epoch), max_wait_ms=500, min_bytes=1 << 30),
    )
    wait_until(lambda: topic.partitions[1]._watchers)
    other = Consumer(served.peer())
    other.session = (session_id, epoch + 1)
    other.ask(forgotten=[("t", 0), ("t", 1)])

    assert consumer.peer.read(tables.FETCH, 12).responses == []
    assert "connection failed" not in caplog.text


# -- bounds ----------------------------------------------------------------------------------------


def test_a_full_cache_keeps_what_is_used_and_gives_up_what_is_idle(serve, clock, monkeypatch):
    monkeypatch.setattr(fetch_session, "MAX_SESSIONS", 2)
    served = serve(clock=clock)
    served.topic()
    consumers = [Consumer(served.peer()) for _ in range(3)]
    for consumer in consumers[:2]:
        begin(consumer, 0)
    refused = consumers[2].ask({("t", 0): 0}).session_id
    consumers[2].session = (0, 0)
    clock.advance(IDLE_S)
    consumers[0].fetch()

    assert refused == 0
    assert consumers[2].ask({("t", 0): 0}).session_id > 0
    assert consumers[0].fetch() == {}
    assert consumers[1].ask().error_code == ErrorCode.FETCH_SESSION_ID_NOT_FOUND


def test_partitions_of_all_sessions_are_bounded(serve, clock, monkeypatch):
    monkeypatch.setattr(fetch_session, "MAX_PARTITIONS", 3)
    served = serve(clock=clock)
    served.topic(partitions=4)
    consumers = [Consumer(served.peer()) for _ in range(3)]
    begin(consumers[0], 0, 1)

    assert consumers[1].ask({("t", number): 0 for number in (0, 1)}).session_id == 0
    assert consumers[2].ask({("t", number): 0 for number in range(4)}).session_id == 0
    clock.advance(IDLE_S)
    consumers[1].session = (0, 0)
    assert consumers[1].ask({("t", number): 0 for number in (0, 1)}).session_id > 0
    consumers[2].session = (0, 0)
    assert consumers[2].ask({("t", number): 0 for number in range(4)}).session_id == 0


def test_a_session_cannot_grow_beyond_the_bound(serve, clock, monkeypatch):
    monkeypatch.setattr(fetch_session, "MAX_PARTITIONS", 3)
    served = serve(clock=clock)
    served.topic(partitions=4)
    consumer = Consumer(served.peer())
    begin(consumer, 0, 1)
    consumer.ask({("t", number): 0 for number in (2, 3)})

    assert sum(len(kept.partitions) for kept in served.handler.fetch_sessions._sessions.values()) <= 3


def test_two_connections_may_find_at_once_that_a_partition_has_told_all(served, topic):
    partition = topic.partitions[0]
    session = FetchSession(1, 0.0, by_id=False)
    session.update(fetch_request({("t", 0): 0}, 12))
    session.watch(served.broker)
    (key,) = session.pending

    session.settled(key, partition)
    session.settled(key, partition)

    assert not session.pending
    session.close()
