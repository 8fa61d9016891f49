"""A classic group by itself: its clock and its store are in the test's hands."""

from portask.clock import ManualClock
from portask.config import load_settings
from portask.coordinator.classic_group import ClassicGroup
from portask.coordinator.member import JoinRequest
from portask.coordinator.state import State

PROTOCOLS = [("range", b"r"), ("sticky", b"s")]


class Bench:
    """One group, and short words for what is done to it."""

    def __init__(self, *argv):
        self.clock = ManualClock()
        self.saves = []
        self.holds_saves = False
        """Whether the store takes its time: then the test calls `stored`."""
        self.group = ClassicGroup("g", self.clock, load_settings(argv, {}), self._save, lambda deadline: None)

    def _save(self, row, done):
        self.saves.append((row, done))
        if not self.holds_saves:
            done(None)

    def stored(self, error=None):
        """The store has answered all that it was given."""
        saves, self.saves = self.saves, []
        for _, done in saves:
            done(error)

    def request(self, member_id="", instance_id=None, **more):
        values = {
            "session_timeout_ms": 10_000,
            "rebalance_timeout_ms": 60_000,
            "protocol_type": "test",
            "protocols": PROTOCOLS,
            "client_id": "client",
        }
        return JoinRequest(member_id=member_id, instance_id=instance_id, **{**values, **more})

    def join(self, member_id="", instance_id=None, **more):
        return self.group.join(self.request(member_id, instance_id, **more))

    def sync(self, member_id, assignments=None, instance_id=None, generation=None):
        generation = self.group.rebalance.generation if generation is None else generation
        return self.group.sync(member_id, instance_id, generation, None, None, assignments or {})

    def heartbeat(self, member_id, instance_id=None):
        self.group.heartbeat(member_id, instance_id, self.group.rebalance.generation)

    def advance(self, seconds):
        """Let time pass; the group notices all that it would have noticed on the way."""
        end = self.clock.monotonic() + seconds
        while (due := self.group.tick(self.clock.monotonic())) <= end:
            self.clock.advance(max(due - self.clock.monotonic(), 0.0))
            if due == self.clock.monotonic():
                self.group.tick(due)
        self.clock.advance(end - self.clock.monotonic())
        self.group.tick(end)

    @property
    def members(self):
        return [member.id for member in self.group.roster]

    @property
    def leader(self):
        return self.group.roster.leader

    def bring_to(self, state, instance_ids=(None, None)):
        """Have the group stand at *state* with a member for each instance id; their ids. Empty and Dead have none."""
        if state is State.DEAD:
            self.group.delete()
        if state in {State.EMPTY, State.DEAD}:
            return []
        first = given(self.join(instance_id=instance_ids[0])).member_id
        self.sync(first)
        answers = [self.join(instance_id=instance_id) for instance_id in instance_ids[1:]]
        if len(instance_ids) > 1:
            self.join(first, instance_ids[0])
        ids = [first, *(given(answer).member_id for answer in answers)]
        if state is State.COMPLETING and len(ids) == 1:
            self.join(first, instance_ids[0])
        if state in {State.STABLE, State.PREPARING}:
            for member_id, instance_id in zip(ids, instance_ids, strict=True):
                self.sync(member_id, {one: one.encode() for one in ids}, instance_id)
        if state is State.PREPARING:
            # The leader begins a rebalance, the others have not joined yet.
            self.join(first, instance_ids[0])
        assert self.group.state is state
        return ids


def given(answer):
    """The value of an answer that must be there."""
    assert answer.is_given
    return answer.get(_no_wait)


def _no_wait(event, timeout_s):
    raise AssertionError("nothing to wait for")
