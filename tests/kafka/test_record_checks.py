"""What some topics demand of each record."""

import pytest

from handlers.kafka.record_batch import InvalidBatchError, InvalidBatchTimestampError, read_header
from handlers.kafka.record_checks import FOREVER, Demands, check_header, check_records
from tests.kafka.batches import changed
from tests.kafka.record_samples import NOW, build


def check(records, *, keys=False, before=FOREVER, after=FOREVER, compression=0, now=NOW):
    made = build(records, compression)
    demands = Demands(keys, before, after)
    check_header(read_header(made), demands, now)
    check_records(memoryview(made), read_header(made), demands, now)


@pytest.mark.parametrize("compression", range(4))
def test_every_record_of_a_compacted_topic_has_a_key(compression):
    check([(NOW, b"a", b"1", []), (NOW, b"", None, [])], keys=True, compression=compression)

    with pytest.raises(InvalidBatchError) as caught:
        check([(NOW, b"a", b"1", []), (NOW, None, b"2", []), (NOW, None, b"3", [])], keys=True, compression=compression)
    assert caught.value.records == [1, 2]


def test_other_topics_take_records_without_keys():
    check([(NOW, None, b"1", [])], before=1000)


def test_a_record_may_be_as_old_as_the_limit_and_no_older():
    check([(NOW, None, b"1", []), (NOW - 1000, None, b"2", [])], before=1000)

    with pytest.raises(InvalidBatchTimestampError) as caught:
        check([(NOW, None, b"1", []), (NOW - 1001, None, b"2", [])], before=1000)
    assert caught.value.records == [1]


def test_a_record_may_be_as_new_as_the_limit_and_no_newer():
    check([(NOW + 1000, None, b"1", [])], after=1000)

    with pytest.raises(InvalidBatchTimestampError):
        check([(NOW, None, b"1", []), (NOW + 1001, None, b"2", [])], after=1000)


def test_a_record_without_a_timestamp_is_never_too_old():
    check([(-1, None, b"1", [])], before=1000)


def test_both_demands_are_made_of_the_same_batch():
    with pytest.raises(InvalidBatchTimestampError):
        check([(NOW - 1001, b"k", b"1", [])], keys=True, before=1000)


@pytest.mark.parametrize("demands", [Demands(True, FOREVER, FOREVER), Demands(False, 1000, FOREVER)])
@pytest.mark.parametrize("fields", [{"count": 2, "last_offset_delta": 1}, {"attributes": 1}, {"attributes": 4}])
def test_records_that_cannot_be_read_are_invalid(demands, fields):
    made = changed(build([(NOW, b"k", b"v", [])]), **fields)

    with pytest.raises(InvalidBatchError, match="cannot be read"):
        check_records(memoryview(made), read_header(made), demands, NOW)


def test_a_timestamp_beyond_all_time_is_invalid():
    made = changed(build([(NOW, b"k", b"v", []), (NOW + 5, b"k", b"v", [])]), base_timestamp=(1 << 63) - 1)

    check_records(memoryview(made), read_header(made), Demands(False, 1000, FOREVER), NOW)
    with pytest.raises(InvalidBatchTimestampError):
        check_header(read_header(changed(made, max_timestamp=FOREVER)), Demands(False, 1000, 3_600_000), NOW)


@pytest.mark.parametrize(
    ("demands", "need"),
    [
        (Demands(False, FOREVER, 3_600_000), False),
        (Demands(True, FOREVER, 3_600_000), True),
        (Demands(False, 1000, 3_600_000), True),
    ],
)
def test_records_are_opened_only_where_the_header_does_not_tell(demands, need):
    assert demands.need_records == need
