"""Verify and repair on damage that one flipped bit does not make. The rest is in tests/crash/test_damage.py."""

from struct import Struct

import pytest

from portask.errors import CorruptError
from portask.storage.base import Append, Round
from portask.storage.frame import encode_frame
from portask.storage.local import LocalOptions, LocalStorage
from portask.storage.local import journal as journals
from portask.storage.local.check import Lost, repair, verify
from portask.storage.local.index import Index
from portask.storage.local.round import APPEND, ENTRY, encode_round
from portask.storage.local.segment import HEADER_BYTES, encode_header
from portask.storage.local.segment_check import examine

BODY = b"x" * 400


@pytest.fixture
def options(tmp_path):
    return LocalOptions(tmp_path / "data", journal_bytes=4000, segment_bytes=3000)


@pytest.fixture
def filled(options, wait_until):
    """A directory with forty messages, the first in segments; the last ones are only in the journal."""
    storage = LocalStorage(options)
    storage.open()
    for offset in range(40):
        append(storage, 1, offset)
    wait_until(lambda: storage.stats()["journal_files"] == 1)
    storage.close()
    return options.directory


def append(storage, log, offset):
    round_ = Round()
    round_.appends.append(Append(log, offset, 1, offset, [BODY]))
    round_.puts["rows", b"last"] = b"%d" % offset
    storage.write(round_)


def offsets(options, log=1):
    """What the directory holds when it is opened."""
    storage = LocalStorage(options)
    storage.open()
    try:
        return [frame.base_offset for frame in storage.read(log, 0, 1 << 20)]
    finally:
        storage.close()


def newest(directory, kind=".journal"):
    return max(directory.rglob(f"*{kind}"))


def damage(path, position, content=b"\xff\xff\xff\xff"):
    with path.open("r+b") as file:
        file.seek(position)
        file.write(content)


def mend(options):
    """Repair, check that nothing is left to repair, and return what was found."""
    report = repair(str(options.directory))
    assert verify(str(options.directory)).findings == ()
    return report.findings


def test_a_sound_directory_has_no_findings_and_repair_changes_nothing(filled, options):
    before = {path: path.read_bytes() for path in filled.rglob("*") if path.is_file() and path.name != "lock"}

    assert mend(options) == ()
    assert {path: path.read_bytes() for path in before} == before


def test_an_empty_directory_is_sound(options):
    LocalStorage(options)._layout.make(LocalStorage(options)._disk)

    assert verify(str(options.directory)).findings == ()
    assert offsets(options) == []


def test_without_snapshot_all_messages_come_back_from_segments_and_journal(filled, options):
    (filled / "snapshot").unlink()
    with pytest.raises(CorruptError, match="portask repair"):
        offsets(options)

    (finding,) = mend(options)
    assert (finding.file, finding.kind) == ("snapshot", "missing")
    assert offsets(options) == list(range(40))


def test_without_snapshot_and_with_a_damaged_round_the_rest_comes_back(filled, options):
    (filled / "snapshot").unlink()
    damage(newest(filled), journals.HEADER_BYTES + 600)

    assert [finding.kind for finding in mend(options)] == ["missing", "damage"]
    assert len(offsets(options)) == 39


def test_with_both_copies_of_the_snapshot_damaged_all_messages_come_back(filled, options):
    size = (filled / "snapshot").stat().st_size
    damage(filled / "snapshot", 30)
    damage(filled / "snapshot", size // 2 + 30)

    (finding,) = mend(options)
    assert finding.detail.startswith("both copies are damaged")
    assert offsets(options) == list(range(40))


def test_without_snapshot_a_frame_in_segment_and_journal_counts_once(filled, options):
    journal = newest(filled)
    header = journals.HEADER_BYTES
    data = journal.read_bytes()
    frame = data[header + 28 + 9 :]
    first = int.from_bytes(frame[8:16], "big")
    size = int.from_bytes(frame[:4], "big") + 4
    segment = newest(filled, ".segment")
    with segment.open("ab") as file:
        file.write(frame[:size])
    (filled / "snapshot").unlink()

    mend(options)
    assert first in offsets(options)
    assert offsets(options) == list(range(40))


def test_without_snapshot_a_segment_without_whole_frames_is_set_aside(filled, options):
    (filled / "snapshot").unlink()
    segment = newest(filled, ".segment")
    segment.write_bytes(segment.read_bytes()[:HEADER_BYTES] + b"rubbish" * 10)
    (filled / "logs" / "9").mkdir()

    report = repair(str(filled))
    assert any("segment" in path for path in report.aside)
    kept = offsets(options)
    assert kept == sorted(set(kept))


def test_without_snapshot_and_journal_header_the_segments_are_kept(filled, options):
    (filled / "snapshot").unlink()
    damage(newest(filled), 20)

    findings = mend(options)
    assert [finding.kind for finding in findings] == ["missing", "damage"]
    assert offsets(options) == list(range(40))


def test_without_any_journal_the_segments_are_kept(filled, options):
    kept = offsets(options)
    for path in (filled / "journal").iterdir():
        path.unlink()

    (finding,) = mend(options)
    assert (finding.kind, finding.position) == ("missing", 0)
    assert offsets(options) == kept[: len(offsets(options))]


def test_without_journal_and_snapshot_the_segments_are_kept(filled, options):
    for path in (filled / "journal").iterdir():
        path.unlink()
    (filled / "snapshot").unlink()
    with pytest.raises(CorruptError, match="is missing"):
        offsets(options)

    mend(options)
    assert offsets(options)[:3] == [0, 1, 2]


def test_a_damaged_journal_header_costs_nothing(filled, options):
    damage(newest(filled), 20)

    (finding,) = mend(options)
    assert finding.detail == "the checksum of the header is wrong"
    assert offsets(options) == list(range(40))


@pytest.mark.parametrize("size", [0, 10, journals.HEADER_BYTES - 1])
def test_a_journal_cut_within_its_header_is_damage_that_can_be_mended(filled, options, size):
    with newest(filled).open("r+b") as file:
        file.truncate(size)

    (finding,) = mend(options)
    assert finding.detail == "the header is cut short"
    assert offsets(options)[:3] == [0, 1, 2]


def test_a_journal_that_begins_with_the_wrong_round_is_numbered_anew(filled, options):
    path = newest(filled)
    data = path.read_bytes()
    number = int(path.stem)
    first, mark = journals.decode_header(data, number)
    damage(path, 0, journals.encode_header(number, first + 3, mark))
    with pytest.raises(CorruptError, match="it begins with round"):
        offsets(options)

    findings = mend(options)
    assert findings[0].detail.startswith("it begins with round")
    assert offsets(options) == list(range(40))


def unmoved(options, count=40):
    """A directory with several journal files, none moved: the mover never gets to run."""
    storage = LocalStorage(LocalOptions(options.directory, journal_bytes=4000, journal_files=100))
    storage.open()
    storage._mover.stop()
    for offset in range(count):
        append(storage, 1, offset)
    storage.close()
    return sorted((options.directory / "journal").glob("*.journal"))


def test_a_missing_journal_file_in_the_middle_becomes_a_gap(options):
    files = unmoved(options)
    files[1].unlink()
    with pytest.raises(CorruptError, match="the file is missing"):
        offsets(options)

    findings = mend(options)
    assert findings[0].kind == "missing"
    (lost,) = findings[0].lost
    assert offsets(options) == [offset for offset in range(40) if not lost.first_offset <= offset <= lost.last_offset]


def test_damage_in_an_older_journal_file_costs_one_round(options):
    files = unmoved(options)
    damage(files[0], journals.HEADER_BYTES + 600)
    with pytest.raises(CorruptError, match="is damaged or missing"):
        offsets(options)

    (finding,) = mend(options)
    assert finding.lost == (Lost(1, 1, 1),)
    assert offsets(options) == [0, *range(2, 40)]


def test_a_round_in_the_place_of_a_later_one_is_damage(options):
    files = unmoved(options)
    data = files[0].read_bytes()
    _, mark = journals.decode_header(data, 1)
    second = data.find(mark, data.find(mark, journals.HEADER_BYTES) + 1)
    third = data.find(mark, second + 1)
    damage(files[0], third, data[second:third])

    (finding,) = mend(options)
    assert finding.lost == (Lost(1, 2, 2),)
    assert offsets(options) == [0, 1, *range(3, 40)]


def test_two_damaged_runs_are_two_findings(options):
    files = unmoved(options)
    damage(files[0], journals.HEADER_BYTES + 600)
    damage(files[1], journals.HEADER_BYTES + 600)

    assert len(mend(options)) == 2
    assert len(offsets(options)) == 38


def test_a_zeroed_page_in_a_journal_file_is_damage(options):
    files = unmoved(options)
    damage(files[0], 1024, bytes(512))

    assert len(mend(options)) == 1
    assert len(offsets(options)) >= 37


def test_an_older_journal_file_that_is_too_long_is_damage(options):
    files = unmoved(options)
    with files[0].open("ab") as file:
        file.write(bytes(100))

    assert len(mend(options)) == 1
    assert offsets(options) == list(range(40))


def test_a_round_whose_frame_is_wrong_is_damage_although_its_own_checksum_is_right(options):
    files = unmoved(options, 3)
    data = files[0].read_bytes()
    _, mark = journals.decode_header(data, 1)
    at = data.find(mark, data.find(mark, journals.HEADER_BYTES) + 1)
    frame = bytearray(b"".join(encode_frame(1, 1, 0, [BODY])))
    frame[-1] ^= 1
    size = data.find(mark, at + 1) - at
    entries = ENTRY.pack(APPEND, 1) + bytes(frame)
    entries += data[at + 28 + len(entries) : at + size]
    damage(files[0], at, encode_round(mark, 2, 1, entries))

    (finding,) = mend(options)
    assert finding.lost == (Lost(1, 1, 1),)
    assert offsets(options) == [0, 2]


def test_a_drop_that_was_lost_is_told_from_the_offsets_behind_it(options):
    storage = LocalStorage(options)
    storage.open()
    for offset in range(3):
        append(storage, 1, offset)
    round_ = Round()
    round_.drops.append(1)
    storage.write(round_)
    position = storage._newest.position
    append(storage, 1, 0)
    append(storage, 1, 1)
    storage.close()
    damage(newest(options.directory), position - 4)

    assert len(mend(options)) == 1
    assert offsets(options) == [0, 1]


def test_a_torn_tail_is_cut_and_is_no_damage(filled, options):
    path = newest(filled)
    size = len(path.read_bytes().rstrip(b"\0"))
    damage(path, size + 50, b"torn")
    report = verify(str(filled))
    assert report.is_sound

    (finding,) = mend(options)
    assert finding.kind == "torn tail"
    assert offsets(options) == list(range(40))


def segment_of(frames):
    return encode_header(1, 0) + b"".join(b"".join(encode_frame(*frame)) for frame in frames)


def test_a_frame_inside_a_message_is_not_taken_for_one_of_the_log():
    inner = b"".join(encode_frame(1, 1, 0, [b"forged"]))
    data = bytearray(segment_of([(0, 1, 0, [b"a"]), (1, 1, 0, [inner, b"tail"]), (2, 1, 0, [b"c"])]))
    second = HEADER_BYTES + len(b"".join(encode_frame(0, 1, 0, [b"a"])))
    for length in (b"\0\0\0\x20", b"\xff\xff\xff\xff"):
        data[second : second + 4] = length
        frames, bad = examine(bytes(data), 0, 3)
        assert [frame.base_offset for frame in frames] == [0, 2]
        assert len(bad) == 1


def test_a_frame_with_offsets_of_elsewhere_is_damage():
    data = segment_of([(0, 1, 0, [b"a"]), (7, 1, 0, [b"b"]), (2, 1, 0, [b"c"])])

    frames, bad = examine(data, 0, 3)
    assert [frame.base_offset for frame in frames] == [0, 2]
    assert "do not belong here" in bad[0].detail


def test_damage_at_the_end_of_a_segment_is_one_run():
    data = segment_of([(0, 1, 0, [b"a"])]) + b"x" * 100

    frames, bad = examine(data, 0, 3)
    assert len(frames) == 1
    assert [(part.position, part.end) for part in bad] == [(len(data) - 100, len(data))]


def test_a_segment_cut_short_loses_its_last_frames_only(filled, options):
    segment = min(filled.rglob("*.segment"))
    size = segment.stat().st_size
    with segment.open("r+b") as file:
        file.truncate(size - 10)
    with pytest.raises(CorruptError, match="bytes are left of"):
        offsets(options)

    findings = mend(options)
    (lost,) = [lost for finding in findings for lost in finding.lost]
    assert lost.first_offset == lost.last_offset
    assert offsets(options) == [offset for offset in range(40) if offset != lost.first_offset]


def test_a_segment_cut_between_frames_is_reported(filled, options):
    segment = min(filled.rglob("*.segment"))
    size = segment.stat().st_size
    with segment.open("r+b") as file:
        file.truncate(size - 428)

    (finding,) = mend(options)
    assert "are left of" in finding.detail
    assert len(offsets(options)) == 39


def test_a_segment_without_a_whole_frame_becomes_a_gap(filled, options):
    segment = min(filled.rglob("*.segment"))
    segment.write_bytes(segment.read_bytes()[:HEADER_BYTES] + bytes(segment.stat().st_size - HEADER_BYTES))

    (finding,) = mend(options)
    (lost,) = finding.lost
    assert lost.first_offset == 0
    assert offsets(options) == list(range(lost.last_offset + 1, 40))


def test_an_index_that_does_not_fit_its_segment_is_made_again(filled, options):
    index = Index()
    index.add(3, 7, 9)
    min(filled.rglob("*.index")).write_bytes(index.encode())

    (finding,) = mend(options)
    assert finding.detail == "it does not fit its segment"
    assert offsets(options) == list(range(40))


def test_segments_trimmed_by_the_journal_need_not_be_there(filled, options):
    storage = LocalStorage(options)
    storage.open()
    round_ = Round()
    round_.trims[1] = 39
    storage.write(round_)
    storage.sync()
    storage.close()
    for path in filled.rglob("*.segment"):
        path.unlink()

    assert not [finding for finding in verify(str(filled)).findings if finding.file.endswith(".segment")]


def test_a_round_header_is_as_long_as_documented():
    assert Struct(">4sIIQQ").size == 28
