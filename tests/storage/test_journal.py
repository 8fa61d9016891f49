"""Journal files and what recovery makes of them."""

import pytest

from portask.errors import CorruptError
from portask.storage.base import Append, Round
from portask.storage.local.disk import Disk
from portask.storage.local.journal import HEADER_BYTES, check_frame, decode_header, encode_header, read_frames
from portask.storage.local.recovery import find_synced, last_byte, replay
from portask.storage.local.round import DROP, ENTRY, Encoded, encode_round
from portask.storage.local.state import State

MARK = b"mark"
DISK = Disk()


def append_round(sequence, offset, synced=0, log=1, body=b"body"):
    round_ = Round()
    round_.appends.append(Append(log, offset, 1, 0, [body]))
    return Encoded(round_).finish(MARK, sequence, synced)


def test_a_header_comes_back_as_it_was():
    header = encode_header(3, 77, MARK)

    assert len(header) == HEADER_BYTES
    assert decode_header(header, 3) == (77, MARK)


@pytest.mark.parametrize("bit", range(8 * HEADER_BYTES))
def test_a_flipped_bit_in_a_header_is_noticed(bit):
    header = bytearray(encode_header(3, 77, MARK))
    header[bit // 8] ^= 1 << bit % 8

    with pytest.raises(CorruptError, match="checksum of the header"):
        decode_header(bytes(header), 3)


def test_the_header_of_another_file_or_format_is_damage(monkeypatch):
    with pytest.raises(CorruptError, match="that of file 3"):
        decode_header(encode_header(3, 77, MARK), 4)
    with pytest.raises(CorruptError, match="cut short"):
        decode_header(b"", 4)
    monkeypatch.setattr("portask.storage.local.journal.FORMAT", 2)
    newer = encode_header(3, 77, MARK)
    monkeypatch.undo()
    with pytest.raises(CorruptError, match="not a journal file of format 1"):
        decode_header(newer, 3)


def test_replay_stops_at_the_first_round_that_is_not_the_next():
    rounds = [append_round(1, 0), append_round(2, 1), append_round(4, 2)]
    state = State()

    end = replay(state, bytes(HEADER_BYTES) + b"".join(rounds), 1, MARK)

    assert end == HEADER_BYTES + len(rounds[0]) + len(rounds[1])
    assert state.sequence == 2
    assert state.logs[1].next_offset == 2


def test_a_round_that_contradicts_those_before_is_damage():
    data = bytes(HEADER_BYTES) + append_round(1, 5) + append_round(2, 5)

    with pytest.raises(CorruptError, match="round 2 at position 105: log 1 stands at 6 and is given offset 5"):
        replay(State(), data, 1, MARK)


def test_a_round_too_short_for_its_header_is_not_taken():
    data = bytes(HEADER_BYTES) + MARK + bytes(8) + (1).to_bytes(8, "big") + bytes(8)

    assert replay(State(), data, 1, MARK) == HEADER_BYTES


def test_a_log_can_be_dropped_and_made_again_in_the_journal():
    rounds = [append_round(1, 5), encode_round(MARK, 2, 0, ENTRY.pack(DROP, 1)), append_round(3, 0)]
    state = State()
    replay(state, bytes(HEADER_BYTES) + b"".join(rounds), 1, MARK)

    assert state.logs[1].next_offset == 1


def test_a_later_round_tells_whether_one_had_been_synced():
    data = append_round(1, 0) + b"garbage" + append_round(3, 0, synced=1) + MARK + append_round(4, 0, synced=2)
    third = data.index(b"garbage") + 7

    assert find_synced(data, 1, MARK, 1) == third
    assert find_synced(data, 1, MARK, 2) == len(data) - len(append_round(4, 0))
    assert find_synced(data, 1, MARK, 3) is None


@pytest.mark.parametrize("zeros", [0, 1, 65535, 65536, 200_000])
def test_the_last_byte_is_found_before_any_number_of_zeros(zeros):
    assert last_byte(b"ab\0c" + bytes(zeros), 0) == 4
    assert last_byte(b"abcd" + bytes(zeros), 4) == 4


def test_frames_are_read_in_runs_and_checked_one_by_one(tmp_path):
    bodies = [b"a" * 10, b"b" * 5000, b"c" * 2_000_000, b"d"]
    data = b""
    positions, sizes = [], []
    for offset, body in enumerate(bodies):
        round_ = append_round(offset + 1, offset, body=body)
        positions.append(len(data) + 37)
        sizes.append(len(round_) - 37)
        data += round_
    descriptor = DISK.open(str(tmp_path / "file"), create=True)
    DISK.write(descriptor, data, 0)

    pieces = list(read_frames(DISK, descriptor, positions, sizes))
    frames = [check_frame(*piece, 0, offset) for offset, piece in enumerate(pieces)]
    assert [frame.body for frame in frames] == bodies

    with pytest.raises(CorruptError, match="position 9: offset 0 stands in place of 7"):
        check_frame(*pieces[0], 9, 7)
    DISK.truncate(descriptor, len(data) - 1)
    with pytest.raises(CorruptError, match="the file has ended"):
        list(read_frames(DISK, descriptor, positions, sizes))
    DISK.close(descriptor)
