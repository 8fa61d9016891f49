"""Drafts: what becomes a batch, and how newest timestamps are found."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portask.draft import MESSAGE_OVERHEAD_BYTES, cut

records = st.lists(
    st.binary(max_size=50)
    | st.tuples(st.binary(max_size=50), st.none() | st.binary(max_size=5))
    | st.tuples(st.none(), st.none(), st.just(["name", b"value"]), st.none() | st.integers(0, 100)),
    max_size=30,
)


@given(records, st.integers(1, 10), st.integers(1, 500))
def test_chunks_hold_all_records_in_order_and_keep_to_the_limits(records, most, most_bytes):
    drafts = list(cut(records, most, most_bytes))

    assert [record for draft in drafts for record in draft.records] == records
    assert all(1 <= len(draft.records) <= most for draft in drafts)
    assert all(draft.size_bytes <= most_bytes or len(draft.records) == 1 for draft in drafts)


def test_few_records_are_not_copied():
    records = [b"a", b"b"]

    (draft,) = cut(records, 2, 1000)

    assert draft.records is records
    assert draft.size_bytes == 2 + 2 * MESSAGE_OVERHEAD_BYTES


@pytest.mark.parametrize(
    ("records", "newest"),
    [
        ([b"a"], 50),
        ([(b"a", b"key")], 50),
        ([(b"a", None, None, 7)], 7),
        ([(b"a", None, None, 7), (b"b", None, None, 9)], 9),
        ([(b"a", None, None, 7), b"b"], 50),
        ([(b"a", None, None, 70), b"b"], 70),
        ([(b"a", None, None, None, b"properties")], 50),
    ],
)
def test_the_newest_timestamp_is_the_records_own_or_else_now(records, newest):
    (draft,) = cut(records, 100, 10_000)

    assert draft.max_timestamp(50) == newest
