"""What groups and offsets are like after the broker was restarted, on real files."""

import pytest

from portask.coordinator.group_row import GroupRow, encode_group
from portask.coordinator.offset_row import CommittedOffset, OffsetKey, decode_row, encode_key, encode_value
from portask.errors import CorruptError, FencedMemberError, StaleGenerationError, UnknownMemberError
from portask.message import encode_cbor
from portask.storage.local import LocalOptions, LocalStorage
from tests.coordinator.group_client import GroupClient, form, result


@pytest.fixture
def restart(make_broker, tmp_path):
    """A function that stops the broker, if there is one, and starts one on the same directory."""
    running = []

    def start():
        if running:
            running.pop().stop(5)
        running.append(make_broker(storage=LocalStorage(LocalOptions(directory=str(tmp_path / "data")))))
        return running[0]

    return start


def offset(value, metadata=""):
    return CommittedOffset(value, 3, metadata, 1_700_000_000_000)


def moved(client, broker):
    """*client*, with what it knows, on the broker that was started again."""
    client.coordinator = broker.coordinator
    return client


def test_offsets_are_there_with_all_that_was_committed(restart):
    broker = restart()
    topic = broker.create_topic("orders", 2)
    broker.coordinator.commit("g", "", None, -1, {(topic, 1): offset(5, "where I was ✓")})
    broker = restart()

    assert broker.coordinator.offsets.get(OffsetKey("g", topic.id, 1)) == offset(5, "where I was ✓")
    assert broker.coordinator.group("g").state_name == "Empty"


def test_deleted_offsets_stay_deleted(restart):
    broker = restart()
    topic = broker.create_topic("orders", 2)
    broker.coordinator.commit("g", "", None, -1, {(topic, 0): offset(1), (topic, 1): offset(2)})
    broker.coordinator.delete_offsets("g", [OffsetKey("g", topic.id, 0)])
    broker = restart()

    assert list(broker.coordinator.offsets.keys("g")) == [OffsetKey("g", topic.id, 1)]


def test_a_deleted_group_stays_deleted(restart):
    broker = restart()
    topic = broker.create_topic("orders")
    member = GroupClient(broker.coordinator)
    form([member])
    member.commit({(topic, 0): offset(1)})
    member.leave()
    broker.coordinator.delete("g")

    assert restart().coordinator.groups() == []


def test_offsets_that_a_deleted_topic_left_behind_are_removed(restart):
    broker = restart()
    topic = broker.create_topic("orders")
    broker.coordinator.commit("g", "", None, -1, {(topic, 0): offset(1)})
    topic.closed = True
    # As when a commit was written just before the topic's deletion was: the deletion does not know of it yet.
    broker.catalog.on_delete.clear()
    broker.delete_topic("orders")
    broker = restart()

    assert broker.coordinator.offsets.groups() == []
    assert restart().storage.load("offsets") == {}


def test_members_go_on_as_if_nothing_had_happened(restart):
    broker = restart()
    topic = broker.create_topic("orders")
    members = [GroupClient(broker.coordinator), GroupClient(broker.coordinator, instance_id="one")]
    form(members)
    broker = restart()

    for member in members:
        moved(member, broker).heartbeat()
        member.commit({(topic, 0): offset(1)})
        assert member.sync({}) == member.member_id.encode()
    group = broker.coordinator.group("g")
    assert (group.state_name, group.rebalance.generation) == ("Stable", 2)


def test_a_group_comes_back_with_its_members_and_its_offsets(restart):
    broker = restart()
    topic = broker.create_topic("orders")
    member = GroupClient(broker.coordinator)
    form([member])
    member.commit({(topic, 0): offset(5)})
    broker = restart()

    assert [one.id for one in broker.coordinator.group("g").roster] == [member.member_id]
    assert broker.coordinator.offsets.get(OffsetKey("g", topic.id, 0)) == offset(5)


def test_members_that_do_not_come_back_are_removed(restart, clock):
    members = [GroupClient(restart().coordinator) for _ in range(1)]
    form(members)
    broker = restart()
    clock.advance(10)
    broker.coordinator.tick()

    assert broker.coordinator.group("g").state_name == "Empty"


def test_sessions_begin_with_the_restart(restart, clock):
    member = GroupClient(restart().coordinator)
    form([member])
    clock.advance(9)
    broker = restart()
    clock.advance(9)
    broker.coordinator.tick()

    moved(member, broker).heartbeat()


def test_the_leader_is_the_same(restart):
    broker = restart()
    first, second = GroupClient(broker.coordinator), GroupClient(broker.coordinator)
    form([first, second])
    broker = restart()
    moved(first, broker), moved(second, broker)
    joining = first.start_join()
    second.join()

    assert len(result(joining).peers) == 2


def test_a_static_member_is_still_fenced(restart):
    broker = restart()
    before, after = (GroupClient(broker.coordinator, instance_id="one") for _ in range(2))
    form([before])
    after.join()
    broker = restart()
    moved(after, broker).heartbeat()

    with pytest.raises(FencedMemberError):
        moved(before, broker).heartbeat()


def test_a_rebalance_that_was_under_way_is_forgotten(restart):
    broker = restart()
    first, second = GroupClient(broker.coordinator), GroupClient(broker.coordinator)
    form([first])
    joining = second.start_join()
    first.join()
    result(joining)
    broker = restart()

    with pytest.raises(StaleGenerationError):
        moved(first, broker).heartbeat()
    with pytest.raises(UnknownMemberError):
        moved(second, broker).heartbeat()


def test_a_group_that_has_lost_its_members_remembers_when(restart, clock):
    broker = restart()
    member = GroupClient(broker.coordinator)
    form([member])
    clock.advance(5)
    member.leave()
    left_at_ms = clock.now_ms()
    clock.advance(5)
    broker = restart()

    group = broker.coordinator.group("g")
    assert (group.state_name, group.protocol_type) == ("Empty", "test")
    assert group.expiry_base_ms(0) == left_at_ms


def test_generations_go_on_counting(restart):
    broker = restart()
    member = GroupClient(broker.coordinator)
    form([member])
    member.leave()
    before = broker.coordinator.group("g").rebalance.generation

    assert GroupClient(restart().coordinator).join().generation == before + 1


# -- rows ---------------------------------------------------------------------------------------------


def test_a_row_of_offsets_comes_back_as_it_was():
    key = OffsetKey("grüppe", "00" * 15 + "ff", 7)
    value = CommittedOffset(-1, -1, "text", 5, 6)

    assert decode_row(encode_key(key), encode_value(value)) == (key, value)


@pytest.mark.parametrize(
    ("key", "value"), [(b"short", bytes(28)), (bytes(20), b"short"), (bytes(20) + b"\xff", bytes(28))]
)
def test_a_broken_row_of_offsets_is_reported(key, value):
    with pytest.raises(CorruptError, match="table offsets"):
        decode_row(key, value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"g", b"\xff"),
        (b"g", encode_cbor([])),
        (b"g", encode_cbor(["share", "", "", 0, None, 0, []])),
        (b"g", encode_cbor(["classic", "", "", 0, None, 0, [["m"]]])),
        (b"\xff", encode_group(GroupRow("", "", 0, None, 0, []), [], {})),
    ],
)
def test_a_broken_row_of_groups_is_reported(key, value):
    with pytest.raises(CorruptError, match="table groups"):
        GroupRow.decode(key, value)
