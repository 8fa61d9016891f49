"""Sets of offsets against plain sets, and what the pages promise about their cost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portask.subscriptions.offset_set import MAX_OFFSET, PAGE_OFFSETS, OffsetSet

# Ends of ranges gather around page borders, where mistakes would be.
offsets = st.one_of(
    st.integers(0, 5 * PAGE_OFFSETS),
    st.builds(lambda page, step: max(0, page * PAGE_OFFSETS + step), st.integers(0, 5), st.integers(-2, 2)),
)
spans = st.tuples(offsets, offsets).map(sorted).filter(lambda span: span[0] < span[1])
steps = st.lists(st.tuples(st.sampled_from(["add", "remove", "take"]), spans), max_size=12)


def as_ranges(plain):
    """The runs of a plain set."""
    runs = []
    for offset in sorted(plain):
        if runs and runs[-1][1] == offset:
            runs[-1][1] = offset + 1
        else:
            runs.append([offset, offset + 1])
    return [tuple(run) for run in runs]


def build(todo):
    """An OffsetSet and a plain set after the same steps; what `take_range` says is compared on the way."""
    tested, plain = OffsetSet(), set()
    for action, (start, stop) in todo:
        span = set(range(start, stop))
        if action == "add":
            tested.add_range(start, stop)
            plain |= span
        elif action == "remove":
            tested.remove_range(start, stop)
            plain -= span
        else:
            assert tested.take_range(start, stop) == (span <= plain)
            if span <= plain:
                plain -= span
    return tested, plain


@given(steps)
def test_it_holds_what_a_plain_set_holds(todo):
    tested, plain = build(todo)

    assert list(tested.ranges()) == as_ranges(plain)
    assert tested.count == len(plain)
    assert tested.pages == len({offset // PAGE_OFFSETS for offset in plain})
    if plain:
        assert (tested.first(), tested.last()) == (min(plain), max(plain))


@given(steps, spans)
def test_questions_about_a_range_are_answered_as_by_a_plain_set(todo, span):
    tested, plain = build(todo)
    wanted = set(range(*span))

    assert tested.contains_range(*span) == (wanted <= plain)
    assert tested.intersects(*span) == bool(wanted & plain)
    assert list(tested.ranges(*span)) == as_ranges(wanted & plain)
    assert (span[0] in tested) == (span[0] in plain)


@given(steps, steps)
def test_sets_are_joined_and_cut_as_plain_sets(todo, other_todo):
    tested, plain = build(todo)
    other, other_plain = build(other_todo)

    assert list(tested.common(other).ranges()) == as_ranges(plain & other_plain)
    assert tested.common(other).count == len(plain & other_plain)
    left, joined = tested.part(0), tested.part(0)
    left.remove(other)
    joined.add(other)
    for result, expected in ((left, plain - other_plain), (joined, plain | other_plain), (tested, plain)):
        assert list(result.ranges()) == as_ranges(expected)
        assert result.count == len(expected)
        assert result.page_numbers() == sorted({offset // PAGE_OFFSETS for offset in expected})


@given(steps, spans)
def test_a_part_is_a_set_of_its_own(todo, span):
    tested, plain = build(todo)
    part = tested.part(*span)

    assert list(part.ranges()) == as_ranges(plain & set(range(*span)))
    assert part.count == len(plain & set(range(*span)))
    part.remove_range(0, MAX_OFFSET)
    assert tested.count == len(plain)


def test_the_first_of_an_empty_set_does_not_exist():
    with pytest.raises(IndexError):
        OffsetSet().first()
    with pytest.raises(IndexError):
        OffsetSet().last()


def test_a_page_may_be_put_before_and_between_others():
    offsets = OffsetSet()
    for page in (5, 1, 3):
        offsets.add_range(page * PAGE_OFFSETS, page * PAGE_OFFSETS + 1)

    assert [start // PAGE_OFFSETS for start, _ in offsets.ranges()] == [1, 3, 5]


def test_a_run_of_ten_million_costs_ten_thousand_pages():
    offsets = OffsetSet()
    offsets.add_range(1, 10_000_001)

    assert offsets.pages == 9766
    assert offsets.count == 10_000_000


def test_full_pages_share_one_integer():
    offsets = OffsetSet()
    offsets.add_range(0, 2 * PAGE_OFFSETS)
    for offset in range(2 * PAGE_OFFSETS, 3 * PAGE_OFFSETS):
        offsets.add_range(offset, offset + 1)

    assert len({id(bits) for bits in offsets._pages.values()}) == 1


def test_an_absurd_range_is_denied_at_once():
    offsets = OffsetSet()
    offsets.add_range(0, 10)

    assert not offsets.take_range(0, MAX_OFFSET)
    assert not offsets.contains_range(0, MAX_OFFSET)


def test_a_wide_removal_costs_only_the_pages_that_are_there():
    offsets = OffsetSet()
    offsets.add_range(7, 10)
    offsets.remove_range(0, MAX_OFFSET)

    assert (offsets.count, offsets.pages) == (0, 0)
