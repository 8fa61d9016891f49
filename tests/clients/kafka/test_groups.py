"""Groups whose members are processes that are killed, join and come back."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from itertools import chain

import pytest
from confluent_kafka import ConsumerGroupState, KafkaError, TopicPartition

from tests.clients.kafka.child import in_child
from tests.clients.kafka.confluent import admin_of, await_value, consumer, create, one, producer, take, write

PARTITIONS = 8
LONGEST_S = 60


class Member:
    """A process that consumes, and what it has said."""

    def __init__(self, bootstrap, group, topic, assignor, *instance):
        words = (bootstrap, group, topic, assignor, *instance)
        command = [sys.executable, "-m", "tests.clients.kafka.group_member", *words]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.events = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            if line.endswith("\n"):  # a process may be killed within a line
                self.events.append(json.loads(line))

    def of(self, kind):
        """What it has said about one kind of event."""
        return [event[kind] for event in list(self.events) if kind in event]

    def assignments(self):
        """What it has been given and what was taken from it, in turn."""
        kinds = ("assigned", "revoked", "lost")
        return [(kind, event[kind]) for event in list(self.events) for kind in kinds if kind in event]

    def holds(self):
        """The partitions that it has now."""
        held = set()
        for event in list(self.events):
            held |= set(event.get("assigned", ()))
            held -= set(event.get("revoked", ())) | set(event.get("lost", ()))
        return held

    def end(self, number):
        """End it with a signal and wait until it is gone; the exit code."""
        self.process.send_signal(number)
        code = self.process.wait(LONGEST_S)
        self.reader.join(LONGEST_S)
        self.process.stdout.close()
        return code


class Members(list):
    """All that ever were; the running ones end with the block."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for member in self.running():
            member.end(signal.SIGKILL)

    def start(self, *words):
        """A new one."""
        self.append(Member(*words))
        return self[-1]

    def running(self):
        return [member for member in self if member.process.poll() is None]

    def seen(self):
        """Each (partition, offset) that any of them got."""
        return {tuple(place) for member in self for place in member.of("got")}

    def share(self):
        """Whether the running ones hold all partitions, each has some, and none is held twice."""
        holdings = [member.holds() for member in self.running()]
        return all(holdings) and sorted(chain.from_iterable(holdings)) == list(range(PARTITIONS))


def wait_for(condition, what, longest_s=LONGEST_S):
    """Return when *condition* holds."""
    deadline = time.monotonic() + longest_s
    while not condition():
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(0.02)


class Producing:
    """A producer that goes on writing to all partitions as long as the block runs."""

    def __init__(self, bootstrap, topic):
        self.sender = producer(bootstrap, enable_idempotence=True, linger_ms=0)
        self.topic = topic
        self.stopped = threading.Event()
        self.places = []
        self.thread = threading.Thread(target=self._run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.thread.join(LONGEST_S)

    def _run(self):
        number = 0
        while not self.stopped.is_set():
            for _ in range(10):
                self.sender.produce(self.topic, b"%d" % number, partition=number % PARTITIONS, on_delivery=self._note)
                number += 1
            self.sender.poll(0)
            self.stopped.wait(0.01)  # no faster than the members can follow
        self.sender.flush(LONGEST_S)

    def _note(self, error, message):
        assert error is None, error
        self.places.append((message.partition(), message.offset()))


def began_before_a_commit(members):
    """Each time that a member which was given a partition began before an offset that had been committed by then."""
    commits = defaultdict(list)
    for member in members:
        for event in member.events:
            for partition, offset in event.get("committed", ()):
                commits[partition].append((event["at"], offset))
    wrong = []
    for member in members:
        given = {}
        for event in member.events:
            given.update(dict.fromkeys(event.get("assigned", ()), event["at"]))
            partition, offset = event.get("got", (None, None))
            if partition in given:
                since = given.pop(partition)
                floor = max((offset for at, offset in commits[partition] if at < since), default=0)
                if offset < floor:
                    wrong.append((partition, offset, floor))
    return wrong


@pytest.mark.parametrize("assignor", ["range", "roundrobin", "cooperative-sticky"])
@in_child
def test_nothing_is_skipped_while_members_are_killed_and_join(bootstrap, topic, group, assignor):
    create(bootstrap, topic, PARTITIONS)
    words = (bootstrap, group, topic, assignor)
    with Members() as members:
        with Producing(bootstrap, topic) as producing:
            for _ in range(4):
                members.start(*words)
            wait_for(members.share, "four members share the partitions")
            for killed in (1, 2):
                for victim in members.running()[:killed]:
                    victim.end(signal.SIGKILL)
                    members.start(*words)
                wait_for(members.share, "the partitions are shared anew")
        wait_for(lambda: members.seen() >= set(producing.places), "each message comes")
        codes = [member.end(signal.SIGTERM) for member in members.running()]

    assert codes == [0] * 4
    assert members.seen() == set(producing.places)
    assert began_before_a_commit(members) == []


@in_child
def test_what_a_leaving_member_had_goes_to_the_others_at_once(bootstrap, topic, group):
    create(bootstrap, topic, PARTITIONS)
    patient = {"session_timeout_ms": 300_000, "heartbeat_interval_ms": 200}
    first, second = consumer(bootstrap, group, **patient), consumer(bootstrap, group, **patient)
    for reader in (first, second):
        reader.subscribe([topic])
    shared = poll_until([first, second], lambda: [len(reader.assignment()) for reader in (first, second)] == [4, 4])
    second.close()
    alone = poll_until([first], lambda: len(first.assignment()) == PARTITIONS)
    first.close()
    assert (shared, alone) == (True, True)


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
@in_child
def test_a_static_member_comes_back_without_a_rebalance(bootstrap, topic, group, ending):
    create(bootstrap, topic, PARTITIONS)
    words = (bootstrap, group, topic, "range")
    with Members() as members:
        staying, leaving = members.start(*words, "a"), members.start(*words, "b")
        wait_for(members.share, "two members share the partitions")
        had, before = leaving.holds(), staying.assignments()
        leaving.end(ending)
        returned = members.start(*words, "b")
        wait_for(returned.holds, "it is given partitions")
        write(bootstrap, topic, [{"value": b"x", "partition": number} for number in range(PARTITIONS)])
        wait_for(lambda: len(members.seen()) == PARTITIONS, "the messages come")
        assert returned.holds() == had
        assert staying.assignments() == before


@in_child
def test_a_static_member_is_fenced_when_another_takes_its_name(bootstrap, topic, group):
    create(bootstrap, topic)
    old = consumer(bootstrap, group, group_instance_id="a", heartbeat_interval_ms=200)
    old.subscribe([topic])
    write(bootstrap, topic, [{"value": b"x"}])
    take(old, 1)
    new = consumer(bootstrap, group, group_instance_id="a", heartbeat_interval_ms=200)
    new.subscribe([topic])
    take(new, 1)
    codes = []

    def fenced():
        message = old.poll(0.1)
        if message is not None and message.error() is not None:
            codes.append(message.error().code())
        return codes

    wait_for(fenced, "the old one gets an error")
    assert codes[0] in {KafkaError._FATAL, KafkaError.FENCED_INSTANCE_ID}
    new.close()


@in_child
def test_a_cooperative_member_gives_up_only_what_the_new_one_gets(bootstrap, topic, group):
    create(bootstrap, topic, PARTITIONS)
    words = (bootstrap, group, topic, "cooperative-sticky")
    with Members() as members:
        old = [members.start(*words) for _ in range(2)]
        wait_for(members.share, "two members share the partitions")
        before = [len(member.events) for member in old]
        new = members.start(*words)
        wait_for(members.share, "three members share the partitions")
        given_up = [
            number
            for member, count in zip(old, before, strict=True)
            for event in member.events[count:]
            for number in event.get("revoked", ())
        ]
        assert sorted(given_up) == sorted(new.holds())


@in_child
def test_a_member_that_is_not_in_the_group_may_not_commit(bootstrap, topic, group):
    create(bootstrap, topic)
    write(bootstrap, topic, [{"value": b"x"}])
    reader, stranger = consumer(bootstrap, group), consumer(bootstrap, group)
    reader.subscribe([topic])
    take(reader, 1)
    with pytest.raises(Exception, match="UNKNOWN_MEMBER_ID"):
        stranger.commit(offsets=[TopicPartition(topic, 0, 1)], asynchronous=False)
    reader.close()


@in_child
def test_a_group_whose_only_member_was_killed_becomes_empty(bootstrap, topic, group):
    create(bootstrap, topic, PARTITIONS)
    with Members() as members:
        members.start(bootstrap, group, topic, "range")
        wait_for(members.share, "one member has all partitions")
        members[0].end(signal.SIGKILL)
        admin = admin_of(bootstrap)
        await_value(lambda: one(admin.describe_consumer_groups([group])).state, ConsumerGroupState.EMPTY)


def poll_until(readers, condition):
    """Poll *readers* until *condition* holds; whether it did in time."""
    deadline = time.monotonic() + LONGEST_S
    while time.monotonic() < deadline:
        for reader in readers:
            reader.poll(0.05)
        if condition():
            return True
    return False
