"""Delivery tags against a dictionary of all of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.amqp.unsettled import UnknownTagError, Unsettled

FIRST = object()
SECOND = object()
RUNS = st.lists(st.tuples(st.integers(1, 6), st.sampled_from([FIRST, SECOND]), st.integers(0, 2)), max_size=12)
VERBS = st.lists(st.tuples(st.sampled_from(["one", "up to", "range"]), st.integers(0, 60), st.integers(0, 8)))


def flat(settled):
    return [(part.consumer, part.partition, offset) for part in settled for offset in range(part.first, part.last + 1)]


def filled(runs):
    unsettled, model = Unsettled(), {}
    offset = 100
    for count, consumer, partition in runs:
        for number in range(count):
            model[unsettled.next_tag + number] = (consumer, partition, offset + number)
        unsettled.add(count, offset, partition, consumer)
        offset += count + 1
    return unsettled, model


@given(RUNS, VERBS)
def test_every_tag_stands_for_its_message_until_it_is_settled(runs, verbs):
    unsettled, model = filled(runs)
    for verb, tag, more in verbs:
        if verb == "up to":
            wanted = [number for number in model if number <= tag]
            if not wanted or tag >= unsettled.next_tag:
                with pytest.raises(UnknownTagError):
                    unsettled.take_up_to(tag)
                continue
            taken = unsettled.take_up_to(tag)
        else:
            last = tag if verb == "one" else tag + more
            wanted = []
            for number in range(tag, last + 1):
                if number not in model:
                    break
                wanted.append(number)
            if len(wanted) == last + 1 - tag:
                taken = unsettled.take(tag, last)
            else:
                with pytest.raises(UnknownTagError) as refusal:
                    unsettled.take(tag, last)
                assert str(refusal.value) == f"unknown delivery tag {tag + len(wanted)}"
                taken = refusal.value.taken
        assert flat(taken) == [model.pop(number) for number in wanted]
    assert flat(unsettled.take_all()) == list(model.values())
    assert unsettled.take_all() == []


@given(RUNS, VERBS)
def test_what_is_put_back_has_its_tags_again(runs, verbs):
    unsettled, model = filled(runs)
    taken = []
    for verb, tag, more in verbs:
        try:
            taken += unsettled.take_up_to(tag) if verb == "up to" else unsettled.take(tag, tag + more)
        except UnknownTagError as error:
            taken += error.taken
    unsettled.put_back(taken)

    for tag, wanted in model.items():
        assert flat(unsettled.take(tag, tag)) == [wanted]


def test_tags_of_messages_that_need_no_settling_are_never_found():
    unsettled = Unsettled()
    unsettled.skip(3)
    unsettled.add(1, 7, 0, FIRST)

    with pytest.raises(UnknownTagError, match="unknown delivery tag 3"):
        unsettled.take(3, 3)
    assert flat(unsettled.take(4, 4)) == [(FIRST, 0, 7)]
