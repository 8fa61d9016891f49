"""Every cell of the classic group's state table: what an event does in each state."""

import pytest

from portask.coordinator.state import State
from portask.coordinator.transitions import TABLE, Event
from portask.errors import CoordinatorUnavailableError, RebalancingError, UnknownMemberError
from tests.coordinator.classic_bench import Bench, given

EMPTY, PREPARING, COMPLETING, STABLE, DEAD = State
DEAD_ERROR, UNKNOWN, REBALANCING = CoordinatorUnavailableError, UnknownMemberError, RebalancingError


def new(bench, ids):
    bench.join()


def replace(bench, ids):
    if ids:
        bench.join(instance_id="one")
    else:
        # No static member can be in a group without members.
        TABLE[Event.REPLACE][bench.group.state](bench.group, None, None, "")


def rejoin(bench, ids):
    bench.join(ids[-1] if ids else "gone", "two" if ids else None)


def sync(bench, ids):
    bench.sync(ids[-1] if ids else "gone", instance_id="two" if ids else None)


def heartbeat(bench, ids):
    bench.heartbeat(ids[-1] if ids else "gone", "two" if ids else None)


def commit(bench, ids):
    bench.group.check_commit(ids[-1] if ids else "gone", None, bench.group.rebalance.generation)


def lose(bench, ids):
    if ids:
        bench.group.leave([(ids[-1], None)], "left")
    else:
        TABLE[Event.LOST][bench.group.state](bench.group, "left")


def withdraw(bench, ids):
    bench.group.roster.pending["soon"] = 1.0
    bench.group._remove(["soon"], "withdrawn")


def join_due(bench, ids):
    TABLE[Event.JOIN_DUE][bench.group.state](bench.group)


def sync_due(bench, ids):
    TABLE[Event.SYNC_DUE][bench.group.state](bench.group)


@pytest.mark.parametrize(
    ("event", "before", "outcome"),
    [
        # A first member makes the first generation at once; a second one has to wait for the first.
        (new, EMPTY, COMPLETING),
        (new, PREPARING, PREPARING),
        (new, COMPLETING, PREPARING),
        (new, STABLE, PREPARING),
        (new, DEAD, DEAD_ERROR),
        (replace, EMPTY, UNKNOWN),
        (replace, PREPARING, PREPARING),
        (replace, COMPLETING, PREPARING),
        (replace, STABLE, STABLE),
        (replace, DEAD, DEAD_ERROR),
        (rejoin, EMPTY, UNKNOWN),
        (rejoin, PREPARING, COMPLETING),
        (rejoin, COMPLETING, COMPLETING),
        (rejoin, STABLE, STABLE),
        (rejoin, DEAD, DEAD_ERROR),
        (sync, EMPTY, UNKNOWN),
        (sync, PREPARING, REBALANCING),
        (sync, COMPLETING, COMPLETING),
        (sync, STABLE, STABLE),
        (sync, DEAD, DEAD_ERROR),
        (heartbeat, EMPTY, UNKNOWN),
        (heartbeat, PREPARING, REBALANCING),
        (heartbeat, COMPLETING, COMPLETING),
        (heartbeat, STABLE, STABLE),
        (heartbeat, DEAD, DEAD_ERROR),
        (commit, EMPTY, UNKNOWN),
        (commit, PREPARING, PREPARING),
        (commit, COMPLETING, REBALANCING),
        (commit, STABLE, STABLE),
        (commit, DEAD, DEAD_ERROR),
        (lose, EMPTY, EMPTY),
        # The other one has joined already.
        (lose, PREPARING, COMPLETING),
        (lose, COMPLETING, PREPARING),
        (lose, STABLE, PREPARING),
        (lose, DEAD, DEAD),
        (withdraw, EMPTY, EMPTY),
        (withdraw, PREPARING, PREPARING),
        (withdraw, COMPLETING, COMPLETING),
        (withdraw, STABLE, STABLE),
        (withdraw, DEAD, DEAD),
        (join_due, EMPTY, EMPTY),
        # Static members stay.
        (join_due, PREPARING, COMPLETING),
        (join_due, COMPLETING, COMPLETING),
        (join_due, STABLE, STABLE),
        (join_due, DEAD, DEAD),
        (sync_due, EMPTY, EMPTY),
        (sync_due, PREPARING, PREPARING),
        # Nobody has synced, so nobody is left.
        (sync_due, COMPLETING, EMPTY),
        (sync_due, STABLE, STABLE),
        (sync_due, DEAD, DEAD),
    ],
    ids=lambda value: value.__name__ if callable(value) else value.name,
)
def test_cell(event, before, outcome):
    bench = Bench()
    ids = bench.bring_to(before, ("one", "two"))

    if isinstance(outcome, State):
        event(bench, ids)
        assert bench.group.state is outcome
    else:
        with pytest.raises(outcome):
            event(bench, ids)
        assert bench.group.state is before


def test_table_has_every_cell():
    assert set(TABLE) == set(Event)
    assert all(set(cells) == set(State) for cells in TABLE.values())


def test_tests_cover_every_cell():
    (mark,) = [mark for mark in test_cell.pytestmark if mark.name == "parametrize"]

    assert len({(event, before) for event, before, _ in mark.args[1]}) == len(Event) * len(State)


def test_generation_that_has_reached_the_limit_begins_anew():
    bench = Bench()
    bench.group.rebalance.generation = (1 << 31) - 1

    assert given(bench.join()).generation == 1
