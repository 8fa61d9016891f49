"""The coordinator as its callers see it: what blocks, what ends a wait, and what it refuses at once."""

from types import SimpleNamespace

import gevent
import pytest

from portask.broker import Broker
from portask.clock import Clock
from portask.config import load_settings
from portask.coordinator import coordinator as coordinator_module
from portask.coordinator.answer import Answer
from portask.coordinator.reaper import NEVER, Reaper
from portask.errors import (
    CoordinatorUnavailableError,
    InvalidGroupError,
    InvalidSessionTimeoutError,
    RebalancingError,
    ShuttingDownError,
    UnknownGroupError,
    UnknownMemberError,
)
from portask.storage.memory import MemoryStorage
from tests.coordinator.group_client import GroupClient, form, result, wait


def test_four_clients_become_one_generation(client, coordinator):
    clients = [client(needs_member_id=True) for _ in range(4)]
    assignments = form(clients)

    assert assignments == [one.member_id.encode() for one in clients]
    assert len({one.generation for one in clients}) == 1
    assert coordinator.group("g").state_name == "Stable"


def test_groups_do_not_know_each_other(coordinator):
    form([GroupClient(coordinator, "b")])
    form([GroupClient(coordinator, "a")])

    assert [group.id for group in coordinator.groups()] == ["a", "b"]


@pytest.mark.parametrize("timeout_ms", [5_999, 1_800_001])
def test_a_session_timeout_has_limits(client, timeout_ms):
    with pytest.raises(InvalidSessionTimeoutError):
        client(session_timeout_ms=timeout_ms).join()


def test_a_group_of_members_needs_an_id(coordinator):
    nameless = GroupClient(coordinator, "")

    for call in (nameless.join, nameless.heartbeat, nameless.leave, nameless.sync):
        with pytest.raises(InvalidGroupError):
            call(*([{}] if call == nameless.sync else []))


def test_the_id_of_a_group_has_a_limit(coordinator):
    with pytest.raises(InvalidGroupError):
        GroupClient(coordinator, "ü" * 16_384).join()


def test_metadata_that_no_row_can_hold_disturb_no_other_group(coordinator, monkeypatch):
    monkeypatch.setattr(coordinator_module, "MAX_VALUE_BYTES", 1_000)
    greedy = GroupClient(coordinator, "greedy", protocols=[("range", bytes(1_000))])
    greedy.join()

    with pytest.raises(CoordinatorUnavailableError):
        greedy.sync()
    form([GroupClient(coordinator, "modest")])


def test_a_member_of_no_group_is_unknown(client):
    stray = client()
    stray.member_id = "stray"

    for call in (stray.join, stray.heartbeat, stray.leave, stray.sync):
        with pytest.raises(UnknownMemberError):
            call(*([{}] if call == stray.sync else []))


def test_no_group_is_not_found(coordinator):
    with pytest.raises(UnknownGroupError):
        coordinator.group("g")


def test_a_member_whose_connection_ends_while_it_waits_stays_a_member(client, coordinator):
    first, second = client(), client()
    form([first])
    hung_up = second.start(second.join, wait=lambda event, timeout_s: False)

    with pytest.raises(CoordinatorUnavailableError):
        result(hung_up)
    assert len(coordinator.group("g").roster) == 2
    assert len(first.join().peers) == 2


def test_a_client_that_waits_is_killed_and_the_others_go_on(client):
    first, second = client(), client()
    form([first])
    waiting = second.start_join()
    waiting.kill()

    assert len(first.join().peers) == 2
    assert result(first.start_sync()) == first.member_id.encode()


def test_members_whose_sessions_end_are_removed_by_the_reaper(client, coordinator, clock):
    first, second = client(), client()
    form([first, second])
    clock.advance(9)
    first.heartbeat()
    clock.advance(2)
    coordinator.tick()

    assert [member.id for member in coordinator.group("g").roster] == [first.member_id]


def test_heartbeats_leave_no_trace_in_the_reaper(client, coordinator, clock):
    member = client()
    form([member])
    before = len(coordinator._reaper._heap)
    for _ in range(100):
        clock.advance(1)
        member.heartbeat()
        coordinator.tick()

    assert len(coordinator._reaper._heap) <= before + 1


def test_a_group_whose_deadline_was_moved_up_is_called_once(clock):
    calls = []
    group = SimpleNamespace(id="g", wake_at=NEVER, tick=lambda now: calls.append(now) or NEVER)
    reaper = Reaper(clock)
    reaper.wake(group, 10)
    reaper.wake(group, 5)
    clock.advance(10)
    reaper.tick()

    assert calls == [10]


def test_members_that_do_not_sync_are_noticed_at_the_sync_deadline(client, coordinator, clock):
    member = client(rebalance_timeout_ms=1_000)
    member.join()
    clock.advance(1)
    coordinator.tick()

    assert coordinator.group("g").state_name == "Empty"


def test_the_reaper_comes_by_itself(wait_until):
    broker = Broker(load_settings(("--group-min-session-timeout-ms=1",), {}), MemoryStorage(), Clock())
    broker.start()
    GroupClient(broker.coordinator, session_timeout_ms=10).join()
    group = broker.coordinator.group("g")

    wait_until(lambda: group.state_name == "Empty")
    broker.stop(5)


def test_a_group_that_fails_at_its_deadline_stops_nobody_elses(coordinator, clock, caplog):
    broken, whole = GroupClient(coordinator, "broken"), GroupClient(coordinator, "whole")
    form([broken])
    form([whole])
    coordinator.group("broken").tick = lambda now: 1 / 0
    clock.advance(10)
    coordinator.tick()

    assert coordinator.group("whole").state_name == "Empty"
    assert "group failed at its deadline" in caplog.text


# -- life ---------------------------------------------------------------------------------------------


def test_a_stop_answers_everybody_who_waits(broker, client):
    first, second, third = client(), client(), client()
    form([first, second])
    third.start_join()
    joins = [first.start_join(), third.start_join()]
    broker.coordinator.stop()

    for join in joins:
        with pytest.raises((CoordinatorUnavailableError, RebalancingError)):
            result(join)


def test_a_stop_answers_those_who_wait_for_the_leader(broker, client):
    first, second = client(), client()
    form([first])
    joining = second.start_join()
    first.join()
    result(joining)
    waiting = second.start_sync()
    broker.coordinator.stop()

    with pytest.raises(CoordinatorUnavailableError):
        result(waiting)


def test_what_was_never_started_can_be_stopped():
    broker = Broker(load_settings((), {}), MemoryStorage(), Clock())
    broker.coordinator.stop()

    with pytest.raises(CoordinatorUnavailableError):
        GroupClient(broker.coordinator).join()


def test_nothing_is_taken_after_a_stop(broker, client, coordinator):
    member = client()
    form([member])
    broker.coordinator.stop()

    calls = (
        member.join,
        member.heartbeat,
        member.leave,
        member.sync,
        lambda: member.commit({}),
        coordinator.groups,
        lambda: coordinator.group("g"),
        lambda: coordinator.delete("g"),
        lambda: coordinator.delete_offsets("g", []),
    )
    for call in calls:
        with pytest.raises(CoordinatorUnavailableError):
            call()


def test_an_assignment_that_comes_when_the_bus_is_closed_is_refused(broker, client):
    member = client()
    member.join()
    broker.bus.close()

    with pytest.raises(CoordinatorUnavailableError):
        member.sync()


def test_a_commit_that_comes_when_the_bus_is_closed_is_refused(broker, client):
    member = client()
    form([member])
    topic = broker.create_topic("orders")
    broker.bus.close()

    with pytest.raises(CoordinatorUnavailableError):
        member.commit({(topic, 0): (0, 0, "", 0, -1)})


# -- answers ------------------------------------------------------------------------------------------


def test_an_answer_is_given_once():
    answer = Answer()
    answer.give(1)
    answer.give(2)
    answer.refuse(ShuttingDownError("late"))

    assert answer.get(wait) == 1


def test_a_refused_answer_stays_refused():
    answer = Answer()
    answer.refuse(ShuttingDownError("stop"))
    answer.give(1)

    with pytest.raises(ShuttingDownError):
        answer.get(wait)


def test_an_answer_is_waited_for():
    answer = Answer()
    waiting = gevent.spawn(answer.get, wait)
    gevent.idle()
    answer.give(1)

    assert waiting.get(timeout=5) == 1
