"""Every verb in text mode, against a broker."""

import json

import pytest

from handlers.native.verbs import TABLE


def test_publish_answers_with_the_id(text):
    assert text.ask(b"PUBLISH t one\n") == "OK t/0/0"
    assert text.ask(b"PUBLISH t two\n") == "OK t/0/1"


@pytest.mark.parametrize("method", [b"GET", b"POST", b"DELETE"])
def test_a_web_browser_is_hung_up_on_before_the_commands_in_its_body(text, served, method):
    text.ask(b"CREATE victim\n")

    text.send(method + b" /path HTTP/1.1\r\nHost: localhost\r\n\r\nDELETE victim\n")

    assert text.answer().startswith("ERR SYNTAX HTTP is not spoken here")
    assert text.file.read() == b""
    assert [topic.name for topic in served.broker.topics()] == ["victim"]


def test_a_payload_may_look_like_a_request(text):
    assert text.ask(b"PUBLISH t GET / HTTP/1.1\n") == "OK t/0/0"


def test_publishb_keeps_key_headers_timestamp_and_properties(text):
    text.ask(b"PUBLISHB t 3 key=%00 h.a=%20 h.n timestamp=17 properties=p\na\nb")
    assert text.ask(b"READ t 0 0\n") == "OK 1 next_offset=1 high_watermark=1 log_start_offset=0"
    assert text.file.readline() == b"MSG t/0/0 t 3 timestamp=17 key=%00 h.a=%20 h.n properties=p\n"
    assert text.file.readline() + text.file.readline() == b"a\nb\n"


def test_a_null_payload_comes_back_as_one(text):
    text.ask(b"PUBLISHB t - key=k\n")
    text.ask(b"READ t 0 0\n")
    assert text.message().payload is None


def test_publishb_may_name_the_partition(text):
    text.ask(b"CREATE t partitions=3\n")
    assert text.ask(b"PUBLISHB t 1 partition=2\nx") == "OK t/2/0"


def test_mpublish_answers_with_one_range_when_all_are_together(text):
    assert text.ask(b"MPUBLISH t 3\n1\na1\nb1\nc") == "OK t/0/0-2"


def test_mpublish_answers_with_a_range_for_each_run_in_the_order_of_the_messages(text):
    text.ask(b"CREATE t partitions=8\n")
    keys = [b"a", b"a", b"b", b"a", b"d", b"d"]
    answer = text.ask(b"MPUBLISH t 6\n" + b"".join(b"1 key=%b\nx" % key for key in keys))
    ids = [part for run in answer[3:].split() for part in expand(run)]
    assert len(ids) == 6
    places = dict(zip(ids, keys, strict=True))
    for place, key in places.items():
        topic, partition, offset = place.split("/")
        text.ask(f"READ {topic} {partition} {offset} 1\n".encode())
        assert text.message().key == key


def expand(run):
    start, _, offsets = run.rpartition("/")
    first, _, last = offsets.partition("-")
    return [f"{start}/{offset}" for offset in range(int(first), int(last or first) + 1)]


def test_messages_with_one_key_go_to_one_partition(text):
    text.ask(b"CREATE t partitions=8\n")
    answers = {text.ask(b"PUBLISHB t 1 key=k\nx").split("/")[1] for _ in range(5)}
    assert len(answers) == 1


def test_messages_without_a_key_take_turns_over_the_partitions(text):
    text.ask(b"CREATE t partitions=3\n")
    assert {text.ask(b"PUBLISH t x\n").split("/")[1] for _ in range(3)} == {"0", "1", "2"}


def test_a_new_group_starts_at_the_first_message(text):
    text.ask(b"PUBLISH t one\n")
    assert text.ask(b"SUBSCRIBE t\n") == "OK t default"
    assert text.message().payload == b"one"


@pytest.mark.parametrize(
    ("start", "expected"), [("first", b"0"), ("last", b"2"), ("next", b"3"), ("1", b"1"), ("@0", b"0")]
)
def test_a_new_group_starts_where_it_is_told(text, start, expected):
    for number in range(3):
        text.ask(b"PUBLISH t %d\n" % number)
    assert text.ask(f"SUBSCRIBE t g start={start}\n".encode()) == "OK t g"
    text.send(b"PUBLISH t 3\n")
    while isinstance(got := text.read(), str):
        pass
    assert got.payload == expected


def test_an_existing_group_goes_on_where_it_was(served):
    first = served.text()
    first.send(b"PUBLISH t one\nPUBLISH t two\n")
    first.answer(), first.answer()
    first.ask(b"SUBSCRIBE t\n")
    first.take(2)
    assert first.ask(b"ACK t/0/0\n") == "OK 1"
    assert first.ask(b"UNSUBSCRIBE t\n") == "OK"
    second = served.text()
    second.ask(b"SUBSCRIBE t default 100 start=first\n")
    message = second.message()
    assert (message.payload, message.fields["redelivered"]) == (b"two", "1")


def test_a_message_is_shown_with_its_group_and_timestamp(text):
    text.ask(b"SUBSCRIBE t g\n")
    text.ask(b"PUBLISHB t 2 timestamp=17\nab")
    message = text.message()
    assert (message.id, message.topic, message.payload) == ("t/0/0", "t", b"ab")
    assert message.fields == {"group": "g", "timestamp": "17"}


def test_no_more_than_prefetch_are_delivered_before_one_is_settled(text):
    for number in range(3):
        text.ask(b"PUBLISH t %d\n" % number)
    text.ask(b"SUBSCRIBE t g 2\n")
    assert [message.payload for message in text.take(2)] == [b"0", b"1"]
    assert text.ask(b"GROUP t g\n").count('"in_flight":2') == 2
    text.send(b"ACK t/0/1\n")
    assert text.answer() == "OK 1"
    assert text.message().payload == b"2"


def test_ack_takes_ranges_and_counts_them(text):
    text.ask(b"MPUBLISH t 5\n" + b"1\nx" * 5)
    text.ask(b"SUBSCRIBE t\n")
    text.take(5)
    assert text.ask(b"ACK t/0/0-2 t/0/4\n") == "OK 4"
    assert text.ask_json(b"GROUP t default\n")["lag"] == 1


def test_nack_brings_a_message_back_redelivered(text):
    text.ask(b"PUBLISH t one\n")
    text.ask(b"SUBSCRIBE t\n")
    text.message()
    assert text.ask(b"NACK t/0/0\n") == "OK 1"
    assert text.message().fields["redelivered"] == "1"


def test_ack_of_what_is_not_in_flight_settles_nothing(text):
    text.ask(b"PUBLISH t one\n")
    text.ask(b"SUBSCRIBE t\n")
    text.message()
    assert text.ask(b"ACK t/0/0-1\n").startswith("ERR NOT_IN_FLIGHT ")
    assert text.ask(b"ACK t/0/0-9223372036854775807\n").startswith("ERR NOT_IN_FLIGHT ")
    assert text.ask(b"ACK t/0/0\n") == "OK 1"
    assert text.ask(b"ACK t/0/0\n").startswith("ERR NOT_IN_FLIGHT ")


def test_ack_of_a_topic_without_subscription_is_refused(text):
    assert text.ask(b"ACK t/0/0\n").startswith("ERR UNKNOWN_GROUP ")


def test_one_connection_may_have_several_groups_of_a_topic_and_names_the_one_it_settles(text):
    text.ask(b"PUBLISH t one\n")
    text.ask(b"SUBSCRIBE t a\n")
    text.ask(b"SUBSCRIBE t b\n")
    text.take(2)
    assert text.ask(b"ACK t/0/0\n").startswith("ERR INVALID ")
    assert text.ask(b"ACK t/0/0 group=c\n").startswith("ERR UNKNOWN_GROUP ")
    assert text.ask(b"ACK t/0/0 group=a\n") == "OK 1"
    assert text.ask(b"ACK t/0/0 group=b\n") == "OK 1"


def test_subscribing_twice_to_one_group_on_one_connection_is_refused(text):
    text.ask(b"SUBSCRIBE t\n")
    assert text.ask(b"SUBSCRIBE t\n").startswith("ERR IN_USE ")


def test_unsubscribe_of_what_is_not_subscribed_is_refused(text):
    assert text.ask(b"UNSUBSCRIBE t\n").startswith("ERR UNKNOWN_GROUP ")
    text.ask(b"SUBSCRIBE t a\n")
    assert text.ask(b"UNSUBSCRIBE t\n").startswith("ERR UNKNOWN_GROUP ")


@pytest.mark.parametrize(
    ("offset", "payloads"),
    [("first", [b"0", b"1", b"2"]), ("last", [b"2"]), ("next", []), ("1", [b"1", b"2"]), ("@0", [b"0", b"1", b"2"])],
)
def test_read_starts_where_it_is_told(text, offset, payloads):
    text.ask(b"MPUBLISH t 3\n1\n01\n11\n2")
    answer = text.ask(f"READ t 0 {offset}\n".encode())
    assert answer == f"OK {len(payloads)} next_offset=3 high_watermark=3 log_start_offset=0"
    assert [message.payload for message in text.take(len(payloads))] == payloads


def test_read_gives_no_more_than_max_messages_and_says_where_to_go_on(text):
    text.ask(b"MPUBLISH t 3\n1\n01\n11\n2")
    assert text.ask(b"READ t 0 0 2\n").startswith("OK 2 next_offset=2 ")
    text.take(2)
    assert text.ask(b"READ t 0 2 2\n").startswith("OK 1 next_offset=3 ")


def test_read_of_few_messages_stops_within_many_batches(text):
    for number in range(5):
        text.ask(b"PUBLISH t %d\n" % number)
    assert text.ask(b"READ t 0 1 2\n").startswith("OK 2 next_offset=3 ")
    assert [message.payload for message in text.take(2)] == [b"1", b"2"]


def test_read_stops_at_max_bytes_but_gives_at_least_one_message(text):
    for _ in range(2):
        text.ask(b"PUBLISH t " + b"x" * 1000 + b"\n")
    assert text.ask(b"READ t 0 0 max_bytes=1\n").startswith("OK 1 next_offset=1 ")


def test_read_of_an_empty_topic_is_empty(text):
    text.ask(b"CREATE t\n")
    for offset in (b"first", b"last", b"next", b"0"):
        assert text.ask(b"READ t 0 " + offset + b"\n") == "OK 0 next_offset=0 high_watermark=0 log_start_offset=0"


def test_read_waits_for_the_next_message(served, wait_until):
    reader, writer = served.text(), served.text()
    reader.ask(b"CREATE t\n")
    reader.send(b"READ t 0 next wait=60000\n")
    partition = served.broker.topic("t").partition(0)
    wait_until(lambda: partition._waiters)
    writer.ask(b"PUBLISH t one\n")
    assert reader.answer().startswith("OK 1 ")
    assert reader.message().payload == b"one"


def test_read_gives_up_waiting_after_its_time(text):
    text.ask(b"CREATE t\n")
    assert text.ask(b"READ t 0 0 wait=1\n").startswith("OK 0 ")


def test_read_that_waits_ends_when_the_topic_is_deleted(served, wait_until):
    reader = served.text()
    reader.ask(b"CREATE t\n")
    reader.send(b"READ t 0 0 wait=60000\n")
    partition = served.broker.topic("t").partition(0)
    wait_until(lambda: partition._waiters)
    served.broker.delete_topic("t")
    assert reader.answer().startswith("ERR UNKNOWN_TOPIC ")


@pytest.mark.parametrize("arguments", [b"0 1", b"0 0 0", b"0 0 100001", b"0 0 wait=60001", b"0 0 max_bytes=0"])
def test_read_out_of_bounds_is_refused(text, arguments):
    text.ask(b"CREATE t\n")
    assert text.ask(b"READ t " + arguments + b"\n").split()[1] in {"OUT_OF_RANGE", "INVALID"}


def test_create_makes_a_topic_with_partitions_and_settings(text):
    assert text.ask(b"CREATE t partitions=3 retention_ms=5000\n") == "OK"
    topic = text.ask_json(b"TOPIC t\n")
    assert len(topic["partitions"]) == 3
    assert topic["settings"] == {"retention_ms": "5000"}


def test_alter_changes_a_setting_and_takes_it_back(text):
    text.ask(b"CREATE t\n")
    assert text.ask(b"ALTER t zstd_level=3\n") == "OK"
    assert text.ask_json(b"TOPIC t\n")["settings"] == {"zstd_level": "3"}
    assert text.ask(b"ALTER t zstd_level=\n") == "OK"
    assert text.ask_json(b"TOPIC t\n")["settings"] == {}


def test_delete_removes_a_topic(text):
    text.ask(b"CREATE t\n")
    assert text.ask(b"DELETE t\n") == "OK"
    assert text.ask(b"TOPIC t\n").startswith("ERR UNKNOWN_TOPIC ")


def test_deleting_a_topic_tells_its_consumers(served):
    consumer, other = served.text(), served.text()
    consumer.ask(b"SUBSCRIBE t g\n")
    other.ask(b"DELETE t\n")
    assert consumer.read().startswith("CANCELLED t g UNKNOWN_TOPIC ")
    assert consumer.ask(b"ACK t/0/0\n").startswith("ERR UNKNOWN_GROUP ")


def test_topics_are_listed_by_name(text):
    text.ask(b"CREATE b\n")
    text.ask(b"CREATE a\n")
    assert [topic["name"] for topic in text.ask_lines(b"TOPICS\n")] == ["a", "b"]


def test_a_topic_shows_its_offsets_and_groups(text):
    text.ask(b"PUBLISH t one\n")
    text.ask(b"SUBSCRIBE t g\n")
    topic = text.ask_json(b"TOPIC t\n")
    assert topic["partitions"] == [{"partition": 0, "log_start_offset": 0, "high_watermark": 1}]
    assert topic["groups"] == ["g"]


def test_groups_are_listed_for_one_topic_or_for_all(text):
    text.ask(b"SUBSCRIBE a y\n")
    text.ask(b"SUBSCRIBE a x\n")
    text.ask(b"SUBSCRIBE b z\n")
    assert [group["name"] for group in text.ask_lines(b"GROUPS\n")] == ["x", "y", "z"]
    assert [group["name"] for group in text.ask_lines(b"GROUPS b\n")] == ["z"]


def test_drop_deletes_a_group_that_nobody_uses(text):
    text.ask(b"SUBSCRIBE t g\n")
    assert text.ask(b"DROP t g\n").startswith("ERR IN_USE ")
    text.ask(b"UNSUBSCRIBE t g\n")
    assert text.ask(b"DROP t g\n") == "OK"
    assert text.ask(b"GROUP t g\n").startswith("ERR UNKNOWN_GROUP ")
    assert text.ask(b"DROP t g\n").startswith("ERR UNKNOWN_GROUP ")


def test_info_counts_connections(text):
    assert text.ask_json(b"INFO\n")["connections"] == 1


def test_reload_says_what_was_applied(text):
    assert text.ask_json(b"RELOAD\n") == {"applied": [], "needs_restart": []}


def test_reload_of_a_broken_file_changes_nothing_and_says_so(serve, tmp_path):
    file = tmp_path / "portask.toml"
    file.write_text('[log]\nlevel = "info"\n')
    peer = serve("--config", str(file)).text()
    file.write_text('[log]\nlevel = "loud"\n')
    assert peer.ask(b"RELOAD\n").startswith("ERR CONFIG ")


def test_ping_is_answered(text):
    assert text.ask(b"PING\n") == "OK PONG"


def test_help_lists_every_verb(text):
    lines = text.ask_text(b"HELP\n")
    assert len(lines) == len(TABLE)
    assert lines[0].startswith("PUBLISH topic payload -> OK topic/partition/offset: ")


def test_hello_names_the_connection(served, text):
    answer = json.loads(text.ask(b"HELLO text name=reports%201\n")[3:])
    assert answer["mode"] == "text"
    assert served.broker.connections[answer["connection"]].name == "reports 1"


def test_hello_to_an_unknown_mode_is_refused_and_text_goes_on(text):
    assert text.ask(b"HELLO json\n").startswith("ERR INVALID ")
    assert text.ask(b"PING\n") == "OK PONG"


def test_quit_answers_everything_and_closes(text):
    text.send(b"PUBLISH t one\nQUIT\nPING\n")
    assert text.answer() == "OK t/0/0"
    assert text.answer() == "OK BYE"
    assert text.is_closed()


def test_pipelined_commands_are_answered_in_order(text):
    text.send(b"PUBLISH t 0\nPING\nNONSENSE\nPUBLISH t 1\nTOPICS\nPUBLISH t 2\n")
    assert text.answer() == "OK t/0/0"
    assert text.answer() == "OK PONG"
    assert text.answer().startswith("ERR UNKNOWN_COMMAND ")
    assert text.answer() == "OK t/0/1"
    assert text.answer() == "OK 1"
    assert json.loads(text.file.readline())["partitions"][0]["high_watermark"] == 2
    assert text.answer() == "OK t/0/2"


def test_commands_sent_byte_by_byte_are_answered(text):
    for byte in b"PUBLISHB t 2\nabREAD t 0 0\n":
        text.send(bytes([byte]))
    assert text.answer() == "OK t/0/0"
    assert text.answer().startswith("OK 1 ")


def test_a_peer_that_has_said_all_still_gets_its_answers(text):
    text.send(b"PUBLISH t one\nREAD t 0 0\n")
    text.half_close()
    assert text.answer() == "OK t/0/0"
    assert text.answer().startswith("OK 1 ")
    assert text.message().payload == b"one"
    assert text.is_closed()


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (b"PUBLISH bad/name x", "INVALID_TOPIC"),
        (b"PUBLISHB bad/name 1\nx", "INVALID_TOPIC"),
        (b"SUBSCRIBE t bad/group", "INVALID_TOPIC"),
        (b"SUBSCRIBE t g start=yesterday", "INVALID"),
        (b"READ nothing 0 0", "UNKNOWN_TOPIC"),
        (b"READ there 7 0", "UNKNOWN_PARTITION"),
        (b"READ there 0 7", "OUT_OF_RANGE"),
        (b"PUBLISHB there 1 partition=7\nx", "UNKNOWN_PARTITION"),
        (b"CREATE there", "TOPIC_EXISTS"),
        (b"CREATE new partitions=0", "INVALID_TOPIC"),
        (b"CREATE new nonsense=1", "INVALID_TOPIC"),
        (b"CREATE new retention_ms=x", "INVALID_TOPIC"),
        (b"ALTER nothing a=b", "UNKNOWN_TOPIC"),
        (b"DELETE nothing", "UNKNOWN_TOPIC"),
        (b"GROUP there nothing", "UNKNOWN_GROUP"),
        (b"TOPIC", "SYNTAX"),
        (b"WHAT", "UNKNOWN_COMMAND"),
    ],
)
def test_an_error_has_its_code_and_the_connection_goes_on(text, command, code):
    text.ask(b"CREATE there\n")
    assert text.ask(command + b"\n").split(" ")[:2] == ["ERR", code]
    assert text.ask(b"PING\n") == "OK PONG"


def test_a_topic_is_not_made_when_the_server_is_told_not_to(serve):
    peer = serve("--auto-create-topics", "false").text()
    assert peer.ask(b"PUBLISH t x\n").startswith("ERR UNKNOWN_TOPIC ")
    assert peer.ask(b"SUBSCRIBE t\n").startswith("ERR UNKNOWN_TOPIC ")


def test_a_message_larger_than_its_topic_takes_is_refused_and_the_others_are_not(text):
    text.ask(b"CREATE t max_message_bytes=10\n")
    text.send(b"PUBLISH t 12345678901\nPUBLISH t 1234567890\nMPUBLISH t 2\n6\nabcdef6\nabcdef")
    assert text.answer().startswith("ERR TOO_LARGE ")
    assert text.answer() == "OK t/0/0"
    assert text.answer() == "OK t/0/1-2"
