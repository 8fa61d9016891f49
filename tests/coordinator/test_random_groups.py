"""A group under random clients that join, die, restart and leave, over a store that is slow and sometimes refuses.

Whatever happens: partitions of one generation belong to one member each, only members of the generation
that is current commit, generations only grow, and everybody who waits is answered in the end.
"""

import random

import pytest

from portask.coordinator.state import State
from portask.errors import (
    CoordinatorUnavailableError,
    FencedMemberError,
    MemberIdRequiredError,
    PortaskError,
    RebalancingError,
    StaleGenerationError,
    StorageFullError,
    UnknownMemberError,
)
from tests.coordinator.classic_bench import Bench, given

PARTITIONS = range(7)


class World:
    """The group, its clients, and what must hold between them."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.bench = Bench("--group-initial-rebalance-delay-ms=" + self.random.choice(["0", "500"]))
        self.bench.holds_saves = True
        self.clients = []
        self.owners = {}
        """(generation, partition) -> member id, as members were told."""
        self.answers = []
        self.generation = 0

    def add(self, instance_id=None):
        self.clients.append(Client(self, instance_id))

    def store(self, sure=False):
        """Let the store answer some of what it was given, in order."""
        saves = self.bench.saves
        count = len(saves) if sure else self.random.randint(0, len(saves))
        for _ in range(count):
            _, done = saves.pop(0)
            done(None if sure or self.random.random() > 0.1 else StorageFullError("no space left"))

    def step(self):
        choice = self.random.random()
        if choice < 0.15:
            self.store()
        elif choice < 0.3:
            self.bench.advance(self.random.choice([0.1, 0.5, 3, 11]))
        elif choice < 0.35 and len(self.clients) < 6:
            self.add(self.random.choice([None, None, "one", "two"]))
        elif self.clients:
            self.random.choice(self.clients).step()
        self.check()

    def check(self):
        group = self.bench.group
        assert group.rebalance.generation >= self.generation
        self.generation = group.rebalance.generation
        roster = group.roster
        assert roster.waiting == sum(member.join is not None for member in roster)
        assert (roster.leader is None) == (len(roster) == 0)
        assert roster.leader is None or roster.leader in roster
        assert (group.state is State.EMPTY) <= (len(roster) == 0)

    def settle(self):
        """Let time pass without clients: sessions end, and everybody who waits is answered."""
        self.clients.clear()
        for _ in range(30):
            self.store(sure=True)
            self.bench.advance(60)


class Client:
    """A consumer: it joins, syncs, keeps its session, commits; and sometimes it dies or is restarted."""

    def __init__(self, world, instance_id):
        self.world = world
        self.instance_id = instance_id
        self.member_id = ""
        self.generation = -1
        self.phase = self.join
        self.answer = None

    def step(self):
        whim = self.world.random.random()
        if whim < 0.01:
            self.world.clients.remove(self)
            return
        if whim < 0.02:
            # A restart: all that it knew is lost, and nobody reads what it was waiting for.
            self.__init__(self.world, self.instance_id)
            return
        try:
            if self.answer is None:
                self.phase()
            elif self.answer.is_given:
                answer, self.answer = self.answer, None
                self.answered(given(answer))
        except PortaskError as error:
            self.refused(error)

    def ask(self, answer):
        self.answer = answer
        self.world.answers.append(answer)

    def join(self):
        bench = self.world.bench
        self.ask(
            bench.join(
                self.member_id,
                self.instance_id,
                needs_member_id=True,
                can_skip_assignment=self.world.random.random() < 0.5,
                rebalance_timeout_ms=20_000,
            )
        )

    def sync(self):
        peers = sorted(peer.member_id for peer in self.joined.peers) if not self.joined.skip_assignment else []
        plan = {member_id: bytes(PARTITIONS[place :: len(peers)]) for place, member_id in enumerate(peers)}
        self.ask(self.world.bench.sync(self.member_id, plan, self.instance_id, self.generation))

    def answered(self, value):
        if self.phase == self.join:
            self.joined = value
            self.member_id, self.generation = value.member_id, value.generation
            self.phase = self.sync
        elif self.phase == self.sync:
            for partition in value.assignment:
                owner = self.world.owners.setdefault((self.generation, partition), self.identity)
                assert owner == self.identity
            self.assignment = value.assignment
            self.phase = self.work

    @property
    def identity(self):
        """Who it is to the others: a static member is the same after a restart."""
        return self.instance_id or self.member_id

    def work(self):
        group = self.world.bench.group
        whim = self.world.random.random()
        if whim < 0.5:
            group.heartbeat(self.member_id, self.instance_id, self.generation)
        elif whim < 0.9:
            group.check_commit(self.member_id, self.instance_id, self.generation)
            assert self.generation == group.rebalance.generation
            assert self.member_id in group.roster
            for partition in self.assignment:
                assert self.world.owners[self.generation, partition] == self.identity
        elif whim < 0.95:
            self.phase = self.join
        elif self.instance_id is None:
            group.leave([(self.member_id, None)], "left")
            self.member_id = ""
            self.phase = self.join

    def refused(self, error):
        self.phase = self.join
        match error:
            case MemberIdRequiredError():
                self.member_id = error.member_id
            case UnknownMemberError():
                self.member_id = ""
            case FencedMemberError():
                self.world.clients.remove(self)
            case RebalancingError() | StaleGenerationError() | CoordinatorUnavailableError():
                pass
            case _:
                raise error


@pytest.mark.parametrize("seed", range(60))
def test_invariants_hold_and_nobody_waits_for_ever(seed):
    world = World(seed)
    for _ in range(600):
        world.step()
    world.settle()

    assert all(answer.is_given for answer in world.answers)
    assert world.bench.group.state is State.EMPTY


@pytest.mark.parametrize("seed", range(60))
def test_clients_that_live_share_all_partitions_in_the_end(seed, monkeypatch):
    world = World(seed)
    for _ in range(300):
        world.step()
    while len(world.clients) < 3:
        world.add()
    # Of clients that have the same instance id, one can live.
    by_instance = {client.instance_id or id(client): client for client in world.clients}
    world.clients[:] = by_instance.values()
    monkeypatch.setattr(world.random, "random", lambda: 0.3)
    for _ in range(400):
        for client in list(world.clients):
            client.step()
        world.store(sure=True)
        world.bench.advance(0.3)

    group = world.bench.group
    assert group.state is State.STABLE
    assert {client.generation for client in world.clients} == {group.rebalance.generation}
    assert sorted(partition for client in world.clients for partition in client.assignment) == list(PARTITIONS)
