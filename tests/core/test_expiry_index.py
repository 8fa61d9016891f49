"""The index of expirations, and that it keeps no more in memory than it says."""

from hypothesis import given
from hypothesis import strategies as st

from portask.queues.expiry_index import MAX_OPEN, ExpiryIndex, deadline
from portask.subscriptions.offset_set import PAGE_OFFSETS


def test_empty_index_has_nothing_due():
    index = ExpiryIndex()

    assert (index.next_due(), index.first_due(1 << 60), len(index)) == (None, None, 0)


def test_earliest_deadline_is_due_first():
    index = ExpiryIndex()
    index.add((0, 0), [deadline(30, 1), deadline(20, 2)])
    index.add((0, 1), [deadline(10, PAGE_OFFSETS)])

    assert index.next_due() == 10
    assert index.first_due(9) is None
    assert index.first_due(10) == (0, 1)


def test_due_offsets_are_taken_and_the_others_stay():
    index = ExpiryIndex()
    index.add((0, 1), [deadline(30, PAGE_OFFSETS + 1), deadline(20, PAGE_OFFSETS + 2), deadline(10, PAGE_OFFSETS + 3)])

    assert index.take_due((0, 1), 20) == [PAGE_OFFSETS + 3, PAGE_OFFSETS + 2]
    assert index.next_due() == 30


def test_page_without_deadlines_is_forgotten():
    index = ExpiryIndex()
    index.add((0, 0), [deadline(10, 1)])
    index.take_due((0, 0), 10)

    assert (len(index), index.next_due()) == (0, None)


def test_page_in_doubt_must_be_read():
    index = ExpiryIndex()
    index.add((0, 0), [deadline(10, 1)])
    index.doubt((0, 0), 5)

    assert index.first_due(5) == (0, 0)
    assert index.must_read((0, 0))


def test_page_that_was_read_and_has_nothing_is_forgotten():
    index = ExpiryIndex()
    index.doubt((0, 0), 5)
    index.learn((0, 0), [])

    assert index.next_due() is None


def test_pages_that_are_due_last_are_closed():
    index = ExpiryIndex()
    for place in range(MAX_OPEN + 10):
        index.add((0, place), [deadline(MAX_OPEN + 10 - place, 0)])

    assert [place for place in range(MAX_OPEN + 10) if index.must_read((0, place))] == list(range(10))


def test_what_comes_into_a_closed_page_does_not_open_it():
    index = ExpiryIndex()
    index.add((0, 0), [deadline(10**6, 1)])
    for place in range(1, MAX_OPEN + 1):
        index.add((0, place), [deadline(place, 0)])
    index.add((0, 0), [deadline(5, 2)])

    assert index.must_read((0, 0))
    assert index.first_due(0) is None


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 3 * PAGE_OFFSETS - 1)), max_size=60), st.integers(0, 50))
def test_everything_due_is_found_and_nothing_else(messages, now_ms):
    index = ExpiryIndex()
    messages = {offset: due_ms for due_ms, offset in messages}
    for offset, due_ms in messages.items():
        index.add((0, offset // PAGE_OFFSETS), [deadline(due_ms, offset)])
    taken = []
    while (page := index.first_due(now_ms)) is not None:
        taken += index.take_due(page, now_ms)

    assert sorted(taken) == sorted(offset for offset, due_ms in messages.items() if due_ms <= now_ms)
    assert index.next_due() == min((due_ms for due_ms in messages.values() if due_ms > now_ms), default=None)
