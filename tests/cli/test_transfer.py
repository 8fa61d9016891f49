"""`portask export` and `portask import`."""

import json
import signal

import pytest


@pytest.fixture
def filled(portask, topic):
    """A topic of two partitions with every kind of message."""
    portask("topic", "create", topic, "--partitions", "2")
    portask("pub", topic, "text", "--partition", "0", "--key", "k", "--header", "a=1", "--quiet")
    portask("pub", topic, "-", "--partition", "0", "--quiet", stdin=b"\xff\x00 no text")
    portask("pub", topic, "--null", "--partition", "1", "--key", "gone", "--quiet")
    portask("pub", topic, "last", "--partition", "1", "--quiet")
    return topic


def test_exported_lines_say_everything_about_a_message(portask, filled):
    lines = portask("export", filled, "-").jsonl

    assert [line.pop("timestamp") > 0 for line in lines] == [True] * 4
    assert lines == [
        {"topic": filled, "partition": 0, "offset": 0, "key": "k", "headers": [["a", "1"]], "payload": "text"},
        {"topic": filled, "partition": 0, "offset": 1, "payload": {"base64": "/wAgbm8gdGV4dA=="}},
        {"topic": filled, "partition": 1, "offset": 0, "key": "gone", "payload": None},
        {"topic": filled, "partition": 1, "offset": 1, "payload": "last"},
    ]


def test_imported_topic_exports_to_the_same_lines(portask, filled, tmp_path):
    portask("export", filled, tmp_path / "file")

    done = portask("import", f"{filled}-copy", tmp_path / "file", "--partitions", "2", "--output", "json")

    assert done.json["messages"] == 4
    copied = portask("export", f"{filled}-copy", "-").out.replace(f"{filled}-copy", filled)
    assert copied == (tmp_path / "file").read_text()


def test_partition_that_the_new_topic_has_not_is_left_to_the_key(portask, filled, tmp_path):
    portask("export", filled, tmp_path / "file")

    portask("import", f"{filled}-copy", tmp_path / "file")

    assert len(portask("export", f"{filled}-copy", "-").lines) == 4


def test_import_by_key_ignores_the_partitions_of_the_lines(portask, topic, tmp_path):
    lines = [{"partition": number % 2, "key": "one key", "payload": str(number)} for number in range(6)]
    (tmp_path / "file").write_text("".join(json.dumps(line) + "\n" for line in lines))

    portask("import", topic, tmp_path / "file", "--partitions", "2", "--by-key")

    assert len({line["partition"] for line in portask("export", topic, "-").jsonl}) == 1


def test_import_takes_stdin(portask, topic):
    portask("import", topic, "-", stdin=b'{"payload":"one"}\n{"payload":"two"}')

    assert portask("read", topic, "--output", "raw").lines == ["one", "two"]


def test_only_the_named_partition_is_exported(portask, filled):
    assert {line["partition"] for line in portask("export", filled, "-", "--partition", "1").jsonl} == {1}
    portask("export", filled, "-", "--partition", "9", code=3)


def test_file_that_exists_is_not_overwritten_unless_that_is_asked_for(portask, filled, tmp_path):
    (tmp_path / "file").write_text("precious\n")

    assert "--resume" in portask("export", filled, tmp_path / "file", code=2).err
    assert (tmp_path / "file").read_text() == "precious\n"
    portask("export", filled, tmp_path / "file", "--force")
    assert "precious" not in (tmp_path / "file").read_text()


def test_export_that_was_cut_anywhere_is_completed(portask, filled, tmp_path):
    whole = portask("export", filled, "-").raw
    ends = [position + 1 for position, byte in enumerate(whole) if byte == ord("\n")]

    for cut in (0, 1, ends[0] - 1, ends[0], ends[1] - 3, ends[1], ends[2] + 5, len(whole)):
        (tmp_path / "file").write_bytes(whole[:cut])
        portask("export", filled, tmp_path / "file", "--resume")
        assert (tmp_path / "file").read_bytes() == whole


def test_export_is_not_resumed_into_something_else(portask, filled, tmp_path):
    (tmp_path / "file").write_text("no export\n")
    assert "no export has written" in portask("export", filled, tmp_path / "file", "--resume", code=2).err

    (tmp_path / "file").write_text('{"topic":"other","partition":0,"offset":0,"payload":""}\n')
    assert "does not hold an export" in portask("export", filled, tmp_path / "file", "--resume", code=2).err


def test_export_says_what_retention_has_taken_and_goes_on_behind_it(start_server, run, tmp_path, wait_until):
    server = start_server(
        tmp_path / "data", "--journal-bytes=64KiB", "--segment-bytes=64KiB", "--retention-interval-ms=10"
    )

    def portask(*arguments):
        return run(*arguments, PORTASK_SERVER=server.address)

    def start_offset():
        return portask("topic", "show", "t", "--output", "json").json["partitions"][0]["log_start_offset"]

    portask("bench", "pub", "--topic", "t", "--messages", "10000", "--batch", "1")
    (tmp_path / "file").write_bytes(portask("export", "t", "-").raw.splitlines(keepends=True)[0])
    portask("topic", "alter", "t", "--set", "retention_bytes=50000")
    wait_until(lambda: start_offset() > 1, 30)

    done = portask("export", "t", tmp_path / "file", "--resume")

    offsets = [json.loads(line)["offset"] for line in (tmp_path / "file").read_text().splitlines()]
    assert "portask: t/0: offsets from 1 on were removed by retention" in done.err
    assert offsets[0] == 0
    assert offsets[1:] == list(range(offsets[1], 10_000))


def test_broken_line_is_named_and_everything_before_it_is_imported(portask, topic, tmp_path):
    (tmp_path / "file").write_text('{"payload":"one"}\n{"payload":"two"}\nnonsense\n{"payload":"four"}\n')

    assert portask("import", topic, tmp_path / "file", code=2).err.startswith("portask: line 3: not JSON")
    assert portask("read", topic, "--output", "raw").lines == ["one", "two"]


def test_import_goes_on_where_it_was_stopped(portask, topic, tmp_path):
    file = tmp_path / "file"
    file.write_text('{"payload":"one"}\nnonsense\n{"payload":"three"}\n')
    portask("import", topic, file, code=2)
    file.write_text(file.read_text().replace("nonsense", '{"payload":"two"}'))

    assert "--resume" in portask("import", topic, file, code=2).err
    portask("import", topic, file, "--resume")

    assert portask("read", topic, "--output", "raw").lines == ["one", "two", "three"]
    assert not (tmp_path / "file.progress").exists()


def test_import_can_be_begun_anew(portask, topic, tmp_path):
    file = tmp_path / "file"
    file.write_text('{"payload":"one"}\nnonsense\n')
    portask("import", topic, file, code=2)
    file.write_text('{"payload":"one"}\n')

    portask("import", topic, file, "--restart")

    assert portask("read", topic, "--output", "raw").lines == ["one", "one"]


@pytest.mark.parametrize(
    ("note", "words"),
    [
        ("nonsense", "not readable"),
        ('{"topic":"other","position":0,"lines":0}', "topic other"),
        ('{"topic":"TOPIC","position":99,"lines":1}', "shorter"),
    ],
)
def test_note_that_does_not_fit_the_file_is_refused(portask, topic, tmp_path, note, words):
    (tmp_path / "file").write_text('{"payload":"one"}\n')
    (tmp_path / "file.progress").write_text(note.replace("TOPIC", topic))

    assert words in portask("import", topic, tmp_path / "file", "--resume", code=2).err


def test_killed_import_loses_nothing_when_it_is_resumed(portask, popen, topic, tmp_path, wait_until):
    file = tmp_path / "file"
    count = 60_000
    file.write_text("".join(f'{{"payload":"{number}"}}\n' for number in range(count)))
    process = popen("import", topic, file)
    wait_until((tmp_path / "file.progress").exists, 60)

    process.send_signal(signal.SIGKILL)
    process.wait(60)
    portask("import", topic, file, "--resume")

    payloads = [int(payload) for payload in portask("read", topic, "--output", "raw").lines]
    assert sorted(set(payloads)) == list(range(count))
    assert len(payloads) <= count + 5000


def test_progress_is_not_shown_where_no_terminal_is(portask, filled, tmp_path):
    assert portask("export", filled, tmp_path / "file").err == ""
    assert portask("import", f"{filled}-copy", tmp_path / "file").err == ""
