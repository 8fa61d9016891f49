"""`portask pub`, `sub`, `read` and `tail`."""

import json
import signal


def test_published_payload_is_read_back(portask, topic):
    assert portask("pub", topic, "hello").out == f"{topic}/0/0\n"

    assert portask("read", topic, "--output", "raw").out == "hello\n"


def test_each_line_of_stdin_is_a_message(portask, topic):
    portask("pub", topic, stdin=b"one\n\nthree")

    assert portask("read", topic, "--output", "raw").out == "one\n\nthree\n"


def test_dash_takes_all_of_stdin_as_one_message(portask, topic):
    portask("pub", topic, "-", stdin=b"one\ntwo\n")

    assert [message["payload"] for message in portask("read", topic, "--output", "jsonl").jsonl] == ["one\ntwo\n"]


def test_file_is_published_byte_for_byte(portask, topic, tmp_path):
    (tmp_path / "payload").write_bytes(bytes(range(256)))

    portask("pub", topic, "--from-file", tmp_path / "payload")

    assert portask("read", topic, "--output", "raw").raw == bytes(range(256)) + b"\n"


def test_missing_file_is_not_found(portask, topic, tmp_path):
    assert "check the path" in portask("pub", topic, "--from-file", tmp_path / "nothing", code=3).err


def test_key_headers_and_payload_come_back(portask, topic):
    portask("pub", topic, "body", "--key", "k", "--header", "a=1", "--header", "a=2=3")

    (message,) = portask("read", topic, "--output", "jsonl").jsonl
    assert (message["key"], message["headers"], message["payload"]) == ("k", [["a", "1"], ["a", "2=3"]], "body")


def test_tombstone_has_no_payload(portask, topic):
    portask("pub", topic, "--null", "--key", "k")

    assert portask("read", topic, "--output", "jsonl").jsonl[0]["payload"] is None
    assert "(no payload)" in portask("read", topic).out


def test_payload_is_published_as_often_as_asked(portask, topic):
    done = portask("pub", topic, "x", "--count", "3", "--output", "json")

    assert [row["id"] for row in done.json] == [f"{topic}/0/{offset}" for offset in range(3)]


def test_quiet_prints_nothing(portask, topic):
    assert portask("pub", topic, "x", "--quiet").out == ""


def test_two_payloads_are_a_usage_error(portask, topic):
    portask("pub", topic, "x", "--null", code=2)


def test_count_without_a_payload_is_a_usage_error(portask, topic):
    portask("pub", topic, "--count", "2", code=2)


def test_header_without_a_value_is_a_usage_error(portask, topic):
    assert "NAME=VALUE" in portask("pub", topic, "x", "--header", "name", code=2).err


def test_partition_that_is_not_there_is_not_found(portask, topic):
    portask("pub", topic, "x", "--partition", "7", code=3)


def test_subscriber_gets_each_message_once(portask, topic):
    portask("pub", topic, stdin=b"one\ntwo\nthree\n")

    assert portask("sub", topic, "--count", "2", "--output", "raw").lines == ["one", "two"]
    assert portask("sub", topic, "--count", "1", "--output", "raw").lines == ["three"]


def test_each_group_gets_every_message(portask, topic):
    portask("pub", topic, "one")

    for group in ("a", "b"):
        assert portask("sub", topic, "--group", group, "--count", "1", "--output", "raw").lines == ["one"]


def test_message_that_is_not_acknowledged_comes_again_and_says_so(portask, topic):
    portask("pub", topic, "one")
    portask("sub", topic, "--count", "1", "--no-ack")

    (message,) = portask("sub", topic, "--count", "1", "--output", "jsonl").jsonl
    assert (message["payload"], message["redelivered"]) == ("one", 1)


def test_subscriber_that_waited_in_vain_has_failed_if_it_was_to_get_something(portask, topic):
    portask("topic", "create", topic)

    assert portask("sub", topic, "--wait", "0.1", "--output", "json").json == []
    portask("sub", topic, "--wait", "0.1", "--count", "1", code=1)


def test_new_group_begins_where_it_is_told(portask, topic):
    portask("pub", topic, stdin=b"one\ntwo\nthree\n")

    done = portask("sub", topic, "--start", "1", "--count", "2", "--output", "raw")
    assert done.lines == ["two", "three"]
    portask("sub", topic, "--group", "other", "--start", "yesterday", code=2)


def test_interrupted_subscriber_has_acknowledged_what_it_printed(portask, popen, topic):
    portask("pub", topic, stdin=b"one\ntwo\n")
    process = popen("sub", topic, "--output", "raw", "--group", "g")
    assert [process.stdout.readline() for _ in range(2)] == [b"one\n", b"two\n"]
    portask("pub", topic, "three")
    assert process.stdout.readline() == b"three\n"

    process.send_signal(signal.SIGINT)

    assert process.wait(60) == 130
    assert process.stderr.read() == b""
    assert portask("group", "show", topic, "g", "--output", "json").json["lag"] == 0


def test_array_of_an_interrupted_subscriber_is_complete(portask, popen, topic):
    portask("pub", topic, "one")
    process = popen("sub", topic, "--output", "json")
    begun = process.stdout.readline() + process.stdout.read(2)
    assert begun == b"[\n {"

    process.send_signal(signal.SIGINT)

    assert [message["payload"] for message in json.loads(begun + process.stdout.read())] == ["one"]


def test_reading_begins_and_ends_where_it_is_told(portask, topic):
    portask("pub", topic, stdin=b"one\ntwo\nthree\nfour\n")

    assert portask("read", topic, "--offset", "1", "--count", "2", "--output", "raw").lines == ["two", "three"]
    assert portask("read", topic, "--offset", "last", "--output", "raw").lines == ["four"]


def test_reading_takes_every_partition_or_the_one_that_is_named(portask, topic):
    portask("topic", "create", topic, "--partitions", "2")
    portask("pub", topic, "zero", "--partition", "0")
    portask("pub", topic, "one", "--partition", "1")

    assert portask("read", topic, "--output", "raw").lines == ["zero", "one"]
    assert portask("read", topic, "--partition", "1", "--output", "raw").lines == ["one"]


def test_reading_changes_nothing(portask, topic):
    portask("pub", topic, "one")

    assert portask("read", topic).out == portask("read", topic).out


def test_offset_that_is_not_there_has_failed(portask, topic):
    portask("pub", topic, "one")

    assert "outside" in portask("read", topic, "--offset", "99", code=1).err


def test_unknown_topic_is_not_found(portask, topic):
    portask("read", topic, code=3)
    portask("tail", topic, code=3)


def test_following_reader_gets_what_is_published_later(portask, popen, topic):
    portask("pub", topic, "one")
    process = popen("read", topic, "--follow", "--count", "2", "--output", "raw")
    assert process.stdout.readline() == b"one\n"

    portask("pub", topic, "two")

    assert process.stdout.read() == b"two\n"
    assert process.wait(60) == 0


def test_tail_shows_the_newest_of_all_partitions(portask, topic):
    portask("topic", "create", topic, "--partitions", "2")
    for number, payload in enumerate(("a", "b", "c", "d")):
        portask("pub", topic, payload, "--partition", number % 2)

    assert portask("tail", topic, "-n", "3", "--no-follow", "--output", "raw").lines == ["b", "c", "d"]


def test_tail_follows_every_partition(portask, popen, topic):
    portask("topic", "create", topic, "--partitions", "2")
    portask("pub", topic, "old", "--partition", "0")
    process = popen("tail", topic, "--output", "raw")
    assert process.stdout.readline() == b"old\n"

    for number in (1, 0):
        portask("pub", topic, f"new {number}", "--partition", number)
        assert process.stdout.readline() == f"new {number}\n".encode()


def test_what_a_terminal_could_take_for_a_command_is_escaped(portask, topic):
    portask("pub", topic, "-", "--key", "\x1b[31m", stdin=b"\x1b[2J\xff\n")

    line = portask("read", topic).out
    assert "key=\\x1b[31m" in line
    assert line.endswith("\\x1b[2J\\xff\\n\n")
