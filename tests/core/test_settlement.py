"""What is settled, what of it is stored, and what comes back from the store."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portask.errors import CorruptError
from portask.message import decode_cbor, encode_cbor
from portask.subscriptions.offset_set import MAX_OFFSET, OffsetSet
from portask.subscriptions.settlement import MAX_REDELIVERIES, RESERVE, ROW_OFFSETS, TABLE, Settlement, load_settlements

HEADER = (7).to_bytes(8, "big") + (3).to_bytes(4, "big")


def page_key(page):
    return HEADER + page.to_bytes(8, "big")


def requeue(settlement, start, stop):
    offsets = OffsetSet()
    offsets.add_range(start, stop)
    settlement.requeue(offsets)


def redeliveries(settlement, start, stop):
    """The runs as (start, stop, redeliveries)."""
    return [run[:3] for run in settlement.redeliveries(start, stop)]


def bits(*offsets):
    """The bits of page 0 for offsets below 1,024."""
    number = sum(1 << offset for offset in offsets)
    return [number.to_bytes(128, "little"), None, None, None]


class Table:
    """The rows as storage would keep them."""

    def __init__(self):
        self.rows = {}

    def save(self, settlement):
        puts = {}
        collected = settlement.collect(puts)
        for (table, key), value in puts.items():
            assert table == TABLE
            if value is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = value
        return collected

    def load(self):
        return load_settlements(self.rows)[7, 3]


@pytest.fixture
def table():
    return Table()


@pytest.fixture
def settlement():
    return Settlement(7, 3, 0)


def settled(settlement, limit):
    return {offset for offset in range(limit) if settlement.is_settled(offset)}


def test_the_floor_rises_with_what_is_settled_in_order(settlement):
    settlement.settle(0, 10)
    settlement.settle(10, 12)

    assert settlement.floor == 12
    assert settlement.settled_beyond == 0


def test_what_is_settled_beyond_a_hole_waits_there(settlement):
    settlement.settle(5, 10)

    assert settlement.floor == 0
    assert settlement.settled_beyond == 5
    assert settlement.end == 10
    assert settled(settlement, 20) == set(range(5, 10))


def test_the_floor_jumps_over_what_waited_when_the_hole_is_filled(settlement):
    settlement.settle(5, 5000)
    settlement.settle(0, 5)

    assert settlement.floor == 5000
    assert settlement.settled_beyond == 0


def test_the_floor_stops_at_the_next_hole(settlement):
    settlement.settle(5, 10)
    settlement.settle(20, 30)
    settlement.settle(0, 5)

    assert settlement.floor == 10
    assert settlement.settled_beyond == 10


def test_a_floor_that_lands_inside_what_waited_takes_it_along(settlement):
    settlement.settle(5, 10)
    settlement.settle(0, 7)

    assert settlement.floor == 10


def test_settling_twice_changes_nothing(settlement):
    settlement.settle(0, 10)
    settlement.settle(3, 7)

    assert settlement.floor == 10


def test_the_first_unsettled_run_is_found_after_any_offset(settlement):
    settlement.settle(0, 3)
    settlement.settle(5, 10)

    assert settlement.unsettled(0) == (3, 5)
    assert settlement.unsettled(4) == (4, 5)
    assert settlement.unsettled(5) == (10, MAX_OFFSET)
    assert settlement.unsettled(20) == (20, MAX_OFFSET)


def test_unsettled_runs_that_touch_settled_ones_end_there(settlement):
    settlement.settle(5, 10)
    settlement.settle(12, 15)

    assert settlement.unsettled(6) == (10, 12)


def test_a_fresh_offset_has_no_redeliveries(settlement):
    assert redeliveries(settlement, 3, 9) == [(3, 9, 0)]


def test_each_requeue_counts(settlement):
    requeue(settlement, 3, 5)
    requeue(settlement, 4, 7)

    assert redeliveries(settlement, 2, 9) == [(2, 3, 0), (3, 4, 1), (4, 5, 2), (5, 7, 1), (7, 9, 0)]


def test_counts_stop_at_their_limit(settlement):
    for _ in range(MAX_REDELIVERIES + 5):
        requeue(settlement, 3, 4)

    assert redeliveries(settlement, 3, 4) == [(3, 4, MAX_REDELIVERIES)]


def test_settling_ends_the_count(settlement):
    requeue(settlement, 3, 6)
    settlement.settle(4, 5)

    assert redeliveries(settlement, 3, 6) == [(3, 4, 1), (4, 5, 0), (5, 6, 1)]
    settlement.settle(0, 6)
    assert not settlement._counts


def test_a_new_settlement_reserves_from_its_first_row_on(settlement, table):
    collected = table.save(settlement)

    assert settlement.durable_reserved == 0
    settlement.stored(collected)
    assert settlement.durable_reserved == RESERVE


def test_a_reservation_counts_when_its_row_is_durable(settlement, table):
    settlement.stored(table.save(settlement))
    settlement.reserve(9000)
    first = table.save(settlement)
    settlement.reserve(10_000)

    settlement.stored(first)
    assert settlement.durable_reserved == 9000


def test_rows_come_back_as_they_were(settlement, table):
    settlement.settle(0, 10)
    settlement.settle(20, 30)
    settlement.settle(9000, 9100)
    requeue(settlement, 12, 15)
    requeue(settlement, 13, 14)
    table.save(settlement)

    restored = table.load()
    assert settled(restored, 10_000) == settled(settlement, 10_000)
    assert restored.reserved == restored.durable_reserved == settlement.reserved
    assert redeliveries(restored, 12, 15) == [(12, 13, 1), (13, 14, 2), (14, 15, 1)]
    assert not restored.dirty


def test_after_a_restart_everything_below_the_reservation_counts_as_handed_out(settlement, table):
    table.save(settlement)

    restored = table.load()
    assert redeliveries(restored, RESERVE - 2, RESERVE + 2) == [(RESERVE - 2, RESERVE, 1), (RESERVE, RESERVE + 2, 0)]


def test_a_restart_is_no_failure_of_what_may_have_been_handed_out(settlement, table):
    table.save(settlement)
    restored = table.load()
    requeue(restored, 0, 1)

    assert restored.redeliveries(0, 2) == [(0, 1, 1, 1), (1, 2, 1, 0)]


def test_only_what_changed_is_collected(settlement, table):
    settlement.settle(5, 10)
    settlement.settle(9000, 9100)
    table.save(settlement)
    settlement.settle(9200, 9300)
    puts = {}
    settlement.collect(puts)

    assert set(puts) == {(TABLE, HEADER), (TABLE, page_key(2))}
    assert not settlement.dirty


def test_rows_that_the_floor_has_passed_are_deleted(settlement, table):
    settlement.settle(5, 3 * ROW_OFFSETS)
    table.save(settlement)
    assert set(table.rows) == {HEADER, page_key(0), page_key(1), page_key(2)}

    settlement.settle(0, 5)
    table.save(settlement)
    assert set(table.rows) == {HEADER}


def test_a_row_that_was_never_stored_needs_no_deletion(settlement, table):
    settlement.settle(5, ROW_OFFSETS)
    settlement.settle(0, 5)
    puts = {}
    settlement.collect(puts)

    assert set(puts) == {(TABLE, HEADER)}


def test_a_page_with_nothing_left_to_say_loses_its_row(settlement, table):
    requeue(settlement, 10, 12)
    table.save(settlement)
    settlement.settle(0, 12)
    requeue(settlement, 13, 14)
    settlement.settle(12, 14)
    table.save(settlement)

    assert set(table.rows) == {HEADER}


def test_a_refused_round_is_collected_again(settlement, table):
    settlement.settle(5, 10)
    puts = {}
    collected = settlement.collect(puts)
    settlement.refused(collected)

    assert settlement.dirty
    table.save(settlement)
    assert settled(table.load(), 20) == set(range(5, 10))
    assert settlement.durable_reserved == 0


def test_a_refused_deletion_is_collected_again(settlement, table):
    settlement.settle(5, ROW_OFFSETS)
    table.save(settlement)
    settlement.settle(0, 5)
    settlement.refused(settlement.collect({}))
    table.save(settlement)

    assert set(table.rows) == {HEADER}


def test_erasing_names_every_row(settlement, table):
    settlement.settle(5, 3 * ROW_OFFSETS)
    table.save(settlement)
    puts = {}
    settlement.erase(puts)

    assert puts == {(TABLE, key): None for key in table.rows}


def test_the_state_is_as_large_as_its_holes(settlement, table):
    settlement.settle(1, 10_000_000)
    table.save(settlement)

    assert len(table.rows) == 2443
    assert sum(len(key) + len(value) for key, value in table.rows.items()) < 80_000


def test_a_row_of_scattered_offsets_is_no_longer_than_their_bits(settlement, table):
    for offset in range(1, ROW_OFFSETS, 2):
        settlement.settle(offset, offset + 1)
    table.save(settlement)

    assert len(table.rows[page_key(0)]) < ROW_OFFSETS // 8 + 20
    assert settled(table.load(), ROW_OFFSETS) == set(range(1, ROW_OFFSETS, 2))


def test_a_log_that_ends_earlier_takes_back_what_was_said_of_its_lost_end(settlement, table):
    settlement.settle(0, 100)
    settlement.settle(5000, 5100)
    requeue(settlement, 200, 210)
    table.save(settlement)
    restored = table.load()
    restored.cut(50)
    table.save(restored)

    again = table.load()
    assert again.floor == 50
    assert again.settled_beyond == 0
    assert set(table.rows) == {HEADER}
    assert redeliveries(restored, 50, 300) == [(50, 300, 0)]


def test_a_log_that_is_whole_changes_nothing_but_the_flags_beyond_its_end(settlement, table):
    settlement.settle(0, 100)
    table.save(settlement)
    restored = table.load()
    restored.cut(150)

    assert not restored.dirty
    assert redeliveries(restored, 100, 200) == [(100, 150, 1), (150, 200, 0)]


def test_what_a_row_says_of_offsets_below_the_floor_is_ignored(settlement, table):
    settlement.settle(5, 10)
    requeue(settlement, 1, 3)
    table.save(settlement)
    settlement.settle(0, 5)
    settlement.settle(12, 13)
    requeue(settlement, 14, 15)
    fresh = {}
    settlement.collect(fresh)
    table.rows[HEADER] = fresh[TABLE, HEADER]

    restored = table.load()
    assert restored.floor == 10
    assert restored.settled_beyond == 0
    assert not restored._counts


def test_the_floor_may_cut_a_run_of_an_older_row_in_two(table):
    table.rows = {
        HEADER: encode_cbor([7, 100]),
        page_key(0): encode_cbor([bits(*range(5, 10)), [4, bits(6, 7), 2, bits()]]),
    }

    restored = table.load()
    assert settled(restored, 20) == set(range(10))
    assert redeliveries(restored, 7, 8) == [(7, 8, 4)]


@pytest.mark.parametrize(
    "rows",
    [
        {HEADER: b"\xff"},
        {HEADER: encode_cbor([1])},
        {HEADER: encode_cbor({1: 2})},
        {HEADER: encode_cbor(["a", 1])},
        {HEADER: encode_cbor([-1, 1])},
        {HEADER: encode_cbor([1, 1 << 63])},
        {b"short": encode_cbor([1, 1])},
        {page_key(0): encode_cbor([[], []])},
        {HEADER: encode_cbor([0, 0]), page_key(0): encode_cbor([[None], []])},
        {HEADER: encode_cbor([0, 0]), page_key(0): encode_cbor([[None, None, None, False], []])},
        {HEADER: encode_cbor([0, 0]), page_key(0): encode_cbor([[bytes(129), None, None, None], []])},
        {HEADER: encode_cbor([0, 0]), page_key(0): encode_cbor([bits(1), [1]])},
        {HEADER: encode_cbor([0, 0]), page_key(0): encode_cbor([bits(1), [1, b""]])},
        {HEADER: encode_cbor([0, 0]), page_key(0): encode_cbor([bits(1), [-1, bits(1)]])},
        {HEADER: encode_cbor([0, 0]), page_key(0): encode_cbor([bits(1), ["1", bits(1)]])},
        {HEADER: encode_cbor([0, 0]), page_key(0): encode_cbor([bits(1), [1001, bits(1)]])},
    ],
)
def test_a_broken_row_is_corrupt(rows):
    with pytest.raises(CorruptError, match="settled"):
        load_settlements(rows)


spans = st.tuples(st.integers(0, 3 * ROW_OFFSETS), st.integers(1, 3000)).map(lambda span: (span[0], sum(span)))
steps = st.lists(st.tuples(st.sampled_from(["settle", "requeue", "save", "refuse"]), spans), max_size=20)


@settings(max_examples=60)
@given(steps)
def test_after_any_history_a_save_restores_the_same(todo):
    settlement, table = Settlement(7, 3, 0), Table()
    counts = {}
    for action, (start, stop) in todo:
        if action == "settle":
            settlement.settle(start, stop)
            for offset in range(start, stop):
                counts[offset] = None
        elif action == "requeue":
            for offset in range(start, stop):
                if not settlement.is_settled(offset):
                    requeue(settlement, offset, offset + 1)
                    counts[offset] = counts.get(offset, 0) + 1
                    break
        elif action == "save":
            table.save(settlement)
        else:
            settlement.refused(settlement.collect({}))
    table.save(settlement)
    restored = table.load()
    restored.handed_out_before = 0

    for kept in (settlement, restored):
        assert settled(kept, 5 * ROW_OFFSETS) == {offset for offset, count in counts.items() if count is None}
        for offset, count in counts.items():
            if count is not None:
                assert redeliveries(kept, offset, offset + 1) == [(offset, offset + 1, count)]
    for key, row in table.rows.items():
        if key != HEADER:
            page = int.from_bytes(key[-8:], "big")
            assert page >= restored.floor // ROW_OFFSETS
            assert any(decode_cbor(row))
