"""Confirms against what a publisher must be able to conclude from them."""

import gevent
from hypothesis import given
from hypothesis import strategies as st

from handlers.amqp.confirm import Confirms, Group
from portask.errors import StorageFullError, UnknownTopicError

PUBLICATIONS = st.lists(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4)), min_size=1, max_size=4), max_size=6)
OUTCOMES = {0: None, 1: UnknownTopicError("gone"), 2: StorageFullError("full")}


def settle_loop():
    gevent.sleep(0)
    gevent.sleep(0)


def understood(told):
    """What a publisher concludes: number -> acked."""
    known, highest = {}, 0
    for confirm in told:
        first = highest + 1 if confirm.is_multiple else confirm.number
        for number in range(first, confirm.number + 1):
            assert number not in known
            known[number] = confirm.is_ack
        highest = max(highest, confirm.number)
    return known


@given(PUBLICATIONS, st.randoms())
def test_every_message_is_told_of_once_and_truly(publications, random):
    told = []
    confirms = Confirms(told.extend)
    open_groups, truth = [], {}
    for runs in publications:
        groups = {kind: Group(()) for kind, _ in runs}
        for group in groups.values():
            group.open = 1
        numbered = [(groups[kind], count) for kind, count in runs]
        for kind, count in runs:
            for _ in range(count):
                truth[len(truth) + 1] = kind != 2
        confirms.add(numbered)
        open_groups += [(group, OUTCOMES[kind]) for kind, group in groups.items()]
    random.shuffle(open_groups)
    for group, error in open_groups:
        group.done(error)
        if random.random() < 0.3:
            settle_loop()
            known = understood(told)
            assert known.items() <= truth.items()
    settle_loop()

    assert understood(told) == truth


def test_an_ack_never_reaches_across_a_message_that_is_open():
    told = []
    confirms = Confirms(told.extend)
    first, second = Group(()), Group(())
    first.open = second.open = 1
    confirms.add([(first, 1)])
    confirms.add([(second, 1)])

    second.done(None)
    settle_loop()
    assert told == []

    first.done(None)
    settle_loop()
    assert [confirm.number for confirm in told] == [2]
    assert told[0].is_multiple


def test_messages_that_go_to_no_queue_are_confirmed():
    told = []
    confirms = Confirms(told.extend)
    confirms.add([(Group(()), 3)])
    settle_loop()

    assert told == [(3, True, True)]
