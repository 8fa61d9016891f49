"""Retention of committed offsets (KIP-211): by group, by topic, and by what old clients say."""

import pytest

from portask.coordinator import subscribed_topics
from portask.coordinator.group_row import TABLE as GROUPS
from portask.coordinator.offset_row import TABLE, CommittedOffset, OffsetKey
from portask.coordinator.subscribed_topics import register_metadata_reader
from portask.errors import CoordinatorUnavailableError, MemberIdRequiredError, ProtocolError
from tests.coordinator.group_client import form
from tests.coordinator.test_offsets import AwkwardStorage

WEEK_S = 7 * 24 * 3600


@pytest.fixture
def storage():
    return AwkwardStorage()


@pytest.fixture
def broker(make_broker, storage):
    return make_broker(storage=storage)


@pytest.fixture
def topics(broker):
    return [broker.create_topic(name) for name in ("orders", "bills")]


@pytest.fixture
def unreadable(monkeypatch):
    """Nobody knows what metadata of consumers say."""
    monkeypatch.setattr(subscribed_topics, "_READERS", {})


@pytest.fixture
def readable(unreadable):
    """Metadata of consumers are the names of topics."""
    register_metadata_reader("consumer", lambda metadata: metadata.decode().split())


@pytest.fixture
def commit(coordinator, clock):
    """A function that commits an offset in some topics."""

    def commit(topics, client=None, group_id="g", **more):
        offset = CommittedOffset(1, 0, "", clock.now_ms(), **more)
        offsets = {(topic, 0): offset for topic in topics}
        if client is None:
            coordinator.commit(group_id, "", None, -1, offsets)
        else:
            client.commit(offsets)

    return commit


@pytest.fixture
def kept(coordinator):
    """A function that says in which topics the group has offsets."""

    def names(topics):
        return [topic.name for topic in topics if coordinator.offsets.get(OffsetKey("g", topic.id, 0))]

    return names


def consumer(client, topics):
    return client(protocol_type="consumer", protocols=[("range", " ".join(topics).encode())])


def test_offsets_without_a_group_go_a_week_after_their_commit(coordinator, clock, topics, commit, storage):
    commit(topics[:1])
    clock.advance(WEEK_S - 1)
    assert coordinator.retention.apply() == 0
    clock.advance(1)

    assert coordinator.retention.apply() == 1
    assert storage.load(TABLE) == {}
    assert coordinator.groups() == []


def test_a_newer_offset_of_them_stays(coordinator, clock, topics, commit, kept):
    commit(topics[:1])
    clock.advance(WEEK_S - 1)
    commit(topics[1:])
    clock.advance(1)
    coordinator.retention.apply()

    assert kept(topics) == ["bills"]
    assert [group.id for group in coordinator.groups()] == ["g"]


def test_offsets_of_a_group_go_a_week_after_its_last_member(coordinator, clock, topics, commit, client, kept, readable):
    member = consumer(client, ["orders"])
    form([member])
    commit(topics[:1], member)
    clock.advance(3)
    member.leave()
    clock.advance(WEEK_S - 1)
    assert coordinator.retention.apply() == 0
    clock.advance(1)

    assert coordinator.retention.apply() == 1
    assert kept(topics) == []


def test_an_expired_group_is_forgotten_with_its_row(coordinator, clock, topics, commit, client, storage, readable):
    member = consumer(client, ["orders"])
    form([member])
    commit(topics[:1], member)
    member.leave()
    clock.advance(WEEK_S)
    coordinator.retention.apply()

    assert storage.load(GROUPS) == {}


def test_offsets_of_topics_that_members_read_stay(coordinator, clock, topics, commit, client, kept, readable):
    member = consumer(client, ["orders"])
    form([member])
    commit(topics, member)
    clock.advance(WEEK_S)
    coordinator.retention.apply()

    assert kept(topics) == ["orders"]


def test_nothing_expires_in_a_rebalance(coordinator, clock, topics, commit, client, kept, readable):
    member, other = consumer(client, ["orders"]), consumer(client, ["orders"])
    form([member])
    commit(topics, member)
    other.start_join()
    clock.advance(WEEK_S)
    coordinator.retention.apply()

    assert kept(topics) == ["orders", "bills"]


def test_nothing_expires_while_nobody_knows_what_members_read(
    coordinator, clock, topics, commit, client, kept, unreadable
):
    subscribed = consumer(client, ["orders"])
    form([subscribed])
    commit(topics, subscribed)
    clock.advance(WEEK_S)
    coordinator.retention.apply()

    assert kept(topics) == ["orders", "bills"]


def test_metadata_that_cannot_be_read_may_name_any_topic(coordinator, clock, topics, commit, client, kept, readable):
    def refuse(metadata):
        raise ProtocolError("no metadata")

    register_metadata_reader("consumer", refuse)
    member = consumer(client, ["orders"])
    form([member])
    commit(topics, member)
    clock.advance(WEEK_S)
    coordinator.retention.apply()

    assert kept(topics) == ["orders", "bills"]


def test_a_group_of_another_type_keeps_its_offsets_while_it_has_members(
    coordinator, clock, topics, commit, client, kept
):
    member = client(protocol_type="connect")
    form([member])
    commit(topics, member)
    clock.advance(WEEK_S)
    coordinator.retention.apply()

    assert kept(topics) == ["orders", "bills"]


def test_an_old_client_says_itself_when_its_offset_goes(coordinator, clock, topics, commit, kept):
    commit(topics[:1], expires_at_ms=clock.now_ms() + 5000)
    commit(topics[1:], expires_at_ms=clock.now_ms() + 2 * WEEK_S * 1000)
    clock.advance(5)
    coordinator.retention.apply()
    assert kept(topics) == ["bills"]
    clock.advance(WEEK_S)
    coordinator.retention.apply()

    assert kept(topics) == ["bills"]


def test_a_group_that_nobody_entered_in_the_end_is_forgotten(coordinator, clock, client):
    with pytest.raises(MemberIdRequiredError):
        coordinator.join("g", client().request(needs_member_id=True), None)
    coordinator.retention.apply()
    assert [group.id for group in coordinator.groups()] == ["g"]
    clock.advance(10)
    coordinator.tick()
    coordinator.retention.apply()

    assert coordinator.groups() == []


def test_what_could_not_be_deleted_stays(coordinator, clock, topics, commit, kept, storage, client):
    commit(topics)
    clock.advance(WEEK_S)
    storage.refuses = True
    with pytest.raises(CoordinatorUnavailableError):
        coordinator.retention.apply()
    storage.refuses = False

    assert kept(topics) == ["orders", "bills"]
    assert client().join().generation == 1


def test_a_group_that_is_committing_keeps_its_offsets(broker, clock, topics, commit, kept, storage, client, wait_until):
    commit(topics)
    clock.advance(WEEK_S)
    storage.go_on.clear()
    rounds = broker.batcher.stats.rounds
    committing = client().start(commit, topics[:1])
    wait_until(lambda: broker.batcher.stats.rounds == rounds + 1)
    expiring = client().start(broker.coordinator.retention.apply)
    wait_until(lambda: broker.batcher.stats.rounds == rounds + 2)
    storage.go_on.set()
    committing.get(timeout=5)

    assert expiring.get(timeout=5) == 0
    assert kept(topics) == ["orders", "bills"]


def test_a_look_at_the_offsets_comes_by_itself(make_broker, clock, wait_until):
    broker = make_broker("--offsets-check-interval-ms=10", "--offsets-retention-ms=1")
    topic = broker.create_topic("orders")
    broker.coordinator.commit("g", "", None, -1, {(topic, 0): CommittedOffset(1, 0, "", clock.now_ms())})
    clock.advance(1)

    wait_until(lambda: not broker.coordinator.groups())


def test_a_look_that_fails_is_repeated(make_broker, clock, wait_until):
    storage = AwkwardStorage()
    broker = make_broker("--offsets-check-interval-ms=10", "--offsets-retention-ms=1", storage=storage)
    topic = broker.create_topic("orders")
    broker.coordinator.commit("g", "", None, -1, {(topic, 0): CommittedOffset(1, 0, "", clock.now_ms())})
    storage.refuses = True
    clock.advance(1)
    failed = broker.batcher.stats.failed_rounds
    wait_until(lambda: broker.batcher.stats.failed_rounds > failed)
    storage.refuses = False

    wait_until(lambda: not broker.coordinator.groups())
