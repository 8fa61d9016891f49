"""Committed offsets: who may commit, when it is safe, and what goes away."""

import gevent
import pytest
from gevent.event import Event

from portask.coordinator.offset_row import TABLE, CommittedOffset, OffsetKey
from portask.errors import (
    CoordinatorUnavailableError,
    GroupNotEmptyError,
    InvalidGroupError,
    OffsetMetadataTooLargeError,
    RebalancingError,
    StaleGenerationError,
    StorageFailedError,
    StorageFullError,
    UnknownGroupError,
    UnknownMemberError,
)
from portask.storage.memory import MemoryStorage
from tests.coordinator.group_client import GroupClient, form, result

AT = 1_700_000_000_000


class AwkwardStorage(MemoryStorage):
    """Memory that refuses writes, or takes its time to sync, while told to."""

    def __init__(self):
        super().__init__()
        self.refuses = False
        self.go_on = Event()
        self.go_on.set()
        self.syncs = 0
        self.writes = 0

    def write(self, round_):
        if self.refuses:
            raise StorageFullError("no space left")
        self.writes += 1
        super().write(round_)

    def sync(self):
        self.go_on.wait()
        self.syncs += 1
        super().sync()


@pytest.fixture
def storage():
    return AwkwardStorage()


@pytest.fixture
def broker(make_broker, storage):
    return make_broker(storage=storage)


@pytest.fixture
def topic(broker):
    return broker.create_topic("orders", 3)


@pytest.fixture
def offset(coordinator, topic):
    """A function that returns the offset of a partition that group "g" has committed."""

    def get(partition=0, group_id="g"):
        found = coordinator.offsets.get(OffsetKey(group_id, topic.id, partition))
        return None if found is None else found.offset

    return get


def at(offset, metadata="", committed_at_ms=AT, **more):
    return CommittedOffset(offset, 0, metadata, committed_at_ms, **more)


def commit(coordinator, topic, offset=1, group_id="g", partition=0):
    """Commit as somebody who is in no group."""
    coordinator.commit(group_id, "", None, -1, {(topic, partition): at(offset)})


# -- who may commit -----------------------------------------------------------------------------------


def test_a_member_commits(client, topic, offset):
    (member,) = [client()]
    form([member])
    member.commit({(topic, 0): at(5), (topic, 1): at(6)})

    assert (offset(0), offset(1), offset(2)) == (5, 6, None)


def test_somebody_without_a_group_commits(coordinator, topic, offset):
    commit(coordinator, topic, 5)

    assert offset() == 5
    assert coordinator.group("g").state_name == "Empty"


def test_somebody_without_a_group_commits_for_a_group_that_has_lost_its_members(client, coordinator, topic, offset):
    member = client()
    form([member])
    member.leave()
    commit(coordinator, topic, 5)

    assert offset() == 5


def test_nobody_else_commits_for_a_group_that_has_members(client, coordinator, topic, offset):
    form([client()])

    with pytest.raises(UnknownMemberError):
        commit(coordinator, topic)
    assert offset() is None


def test_a_former_member_cannot_commit(client, topic):
    first, second = client(), client()
    form([first, second])
    second.leave()

    with pytest.raises(UnknownMemberError):
        second.commit({(topic, 0): at(5)})


def test_a_member_that_missed_a_rebalance_cannot_commit(client, topic):
    first, second = client(), client()
    form([first])
    second.start_join()
    first.join()

    first.generation -= 1
    with pytest.raises(StaleGenerationError):
        first.commit({(topic, 0): at(5)})


def test_nobody_commits_while_the_leader_assigns(client, topic):
    member = client()
    member.join()

    with pytest.raises(RebalancingError):
        member.commit({(topic, 0): at(5)})


def test_members_commit_before_they_join_again(client, topic, offset):
    first, second = client(), client()
    form([first])
    second.start_join()
    first.commit({(topic, 0): at(5)})

    assert offset() == 5


def test_a_generation_of_no_group_is_refused(coordinator, topic):
    with pytest.raises(UnknownGroupError):
        coordinator.commit("g", "somebody", None, 3, {(topic, 0): at(5)})


def test_a_member_that_was_never_there_is_refused_by_an_empty_group(coordinator, topic):
    commit(coordinator, topic)

    with pytest.raises(UnknownMemberError):
        coordinator.commit("g", "somebody", None, 3, {(topic, 0): at(5)})


def test_a_commit_of_nothing_is_checked_too(client, coordinator):
    form([client()])

    with pytest.raises(UnknownMemberError):
        coordinator.commit("g", "", None, -1, {})


def test_text_that_goes_with_an_offset_is_limited(make_broker):
    coordinator = make_broker("--offset-metadata-bytes=10").coordinator
    coordinator.check_metadata("x" * 10)

    with pytest.raises(OffsetMetadataTooLargeError):
        coordinator.check_metadata("x" * 11)


# -- when it is safe ----------------------------------------------------------------------------------


def test_a_commit_is_answered_and_seen_when_it_is_durable(coordinator, topic, offset, storage, wait_until):
    storage.go_on.clear()
    committer = gevent.spawn(commit, coordinator, topic, 5)
    written = storage.writes
    wait_until(lambda: storage.writes > written)

    assert not committer.ready()
    assert offset() is None
    storage.go_on.set()
    committer.get(timeout=5)
    assert offset() == 5


def test_commits_of_many_share_a_sync(coordinator, topic, storage, wait_until):
    storage.go_on.clear()
    syncs = storage.syncs
    first = gevent.spawn(commit, coordinator, topic, 1, "g0")
    written = storage.writes
    wait_until(lambda: storage.writes > written)
    others = [gevent.spawn(commit, coordinator, topic, 1, f"g{number}") for number in range(1, 100)]
    gevent.idle()
    storage.go_on.set()
    gevent.joinall([first, *others], timeout=5, raise_error=True)

    assert storage.syncs - syncs <= 3


def test_a_commit_that_is_refused_changes_nothing(coordinator, topic, offset, storage):
    commit(coordinator, topic, 5)
    storage.refuses = True

    with pytest.raises(CoordinatorUnavailableError):
        commit(coordinator, topic, 6)
    assert offset() == 5


def test_a_commit_after_the_log_has_stopped_is_refused(coordinator, topic, storage, monkeypatch):
    def fail():
        raise StorageFailedError("the disk is gone")

    monkeypatch.setattr(storage, "sync", fail)

    with pytest.raises(CoordinatorUnavailableError):
        commit(coordinator, topic)


def test_of_two_commits_the_later_one_counts(coordinator, topic, offset):
    committers = [gevent.spawn(commit, coordinator, topic, number) for number in range(10)]
    gevent.joinall(committers, timeout=5, raise_error=True)

    assert offset() == 9


def test_a_commit_whose_client_has_gone_counts_all_the_same(coordinator, topic, offset, storage, wait_until):
    storage.go_on.clear()
    committer = gevent.spawn(commit, coordinator, topic, 5)
    written = storage.writes
    wait_until(lambda: storage.writes > written)
    committer.kill()
    storage.go_on.set()
    wait_until(lambda: offset() == 5)

    assert not coordinator.offsets.is_busy("g")


# -- deleting -----------------------------------------------------------------------------------------


def test_offsets_of_a_deleted_topic_go_with_it(broker, coordinator, topic, storage):
    commit(coordinator, topic)
    broker.delete_topic("orders")

    assert storage.load(TABLE) == {}


def test_a_topic_of_the_same_name_begins_without_offsets(broker, coordinator, topic):
    commit(coordinator, topic)
    broker.delete_topic("orders")
    topic = broker.create_topic("orders")

    assert coordinator.offsets.get(OffsetKey("g", topic.id, 0)) is None


def test_offsets_for_a_topic_that_is_being_deleted_are_not_kept(broker, coordinator, topic, storage):
    topic.closed = True
    commit(coordinator, topic)

    assert storage.load(TABLE) == {}


def test_memory_of_deleted_topics_is_given_back(broker, coordinator, topic):
    commit(coordinator, topic)
    broker.delete_topic("orders")
    coordinator.retention.apply()

    assert coordinator.offsets.groups() == []


def test_chosen_offsets_are_deleted(coordinator, topic, offset, storage):
    commit(coordinator, topic, 5)
    commit(coordinator, topic, 6, partition=1)
    coordinator.delete_offsets("g", [OffsetKey("g", topic.id, 0), OffsetKey("g", topic.id, 2)])

    assert (offset(0), offset(1)) == (None, 6)
    assert len(storage.load(TABLE)) == 1


def test_offsets_of_no_group_cannot_be_deleted(coordinator):
    with pytest.raises(UnknownGroupError):
        coordinator.delete_offsets("g", [])
    with pytest.raises(InvalidGroupError):
        coordinator.delete_offsets("", [])


def test_offsets_of_a_group_of_an_unknown_type_with_members_cannot_be_deleted(client, coordinator):
    form([client(protocol_type="connect")])

    with pytest.raises(GroupNotEmptyError):
        coordinator.delete_offsets("g", [])


def test_a_group_is_deleted_with_its_offsets(coordinator, topic, storage):
    commit(coordinator, topic)
    coordinator.delete("g")

    assert coordinator.groups() == []
    assert coordinator.offsets.groups() == []
    assert storage.load(TABLE) == {}


def test_a_group_with_members_is_not_deleted(client, coordinator):
    form([client()])

    with pytest.raises(GroupNotEmptyError):
        coordinator.delete("g")


def test_no_group_is_not_deleted(coordinator):
    with pytest.raises(UnknownGroupError):
        coordinator.delete("g")


def test_a_commit_that_is_under_way_is_deleted_too(coordinator, topic, storage, wait_until):
    commit(coordinator, topic)
    storage.go_on.clear()
    written = storage.writes
    committer = gevent.spawn(commit, coordinator, topic, 7, partition=1)
    wait_until(lambda: storage.writes > written)
    deleter = gevent.spawn(coordinator.delete, "g")
    gevent.idle()
    storage.go_on.set()
    gevent.joinall([committer, deleter], timeout=5, raise_error=True)

    assert storage.load(TABLE) == {}


def test_nobody_joins_a_group_that_is_being_deleted(coordinator, topic, storage):
    commit(coordinator, topic)
    storage.go_on.clear()
    deleter = gevent.spawn(coordinator.delete, "g")
    gevent.idle()

    with pytest.raises(CoordinatorUnavailableError):
        GroupClient(coordinator).join()
    with pytest.raises(UnknownGroupError):
        coordinator.delete("g")
    with pytest.raises(UnknownGroupError):
        coordinator.delete_offsets("g", [])
    storage.go_on.set()
    deleter.get(timeout=5)
    GroupClient(coordinator).join()


def test_a_group_that_could_not_be_deleted_lives_on(coordinator, topic, offset, storage):
    commit(coordinator, topic, 5)
    storage.refuses = True
    with pytest.raises(CoordinatorUnavailableError):
        coordinator.delete("g")
    storage.refuses = False

    assert offset() == 5
    assert result(GroupClient(coordinator).start_join()).generation == 1
