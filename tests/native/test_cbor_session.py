"""Every verb in CBOR mode, against a broker."""

import pytest

from handlers.native.verbs import TABLE


def test_publish_answers_with_partition_base_offset_and_count(cbor):
    assert cbor.ask("PUBLISH", "t", [b"a", b"b"]) == [[[0, 0, 2]]]
    assert cbor.ask("PUBLISH", "t", [[b"c", b"key"]]) == [[[0, 2, 1]]]


def test_the_messages_of_a_frame_without_keys_go_to_one_partition_in_order(cbor):
    cbor.ask("CREATE", "t", 4)
    ((number, base_offset, count),) = cbor.ask("PUBLISH", "t", [b"a", b"b", b"c"])[0]
    assert (base_offset, count) == (0, 3)
    assert [row[3] for row in cbor.ask("READ", "t", number, 0)[0]] == [b"a", b"b", b"c"]


def test_the_messages_of_a_frame_with_keys_are_told_one_by_one(cbor):
    cbor.ask("CREATE", "t", 8)
    keys = [b"a", b"b", b"c", b"a", None, b"d", b"d"]
    (runs,) = cbor.ask("PUBLISH", "t", [[b"x", key] for key in keys])
    places = [(number, base + step) for number, base, count in runs for step in range(count)]
    found = [cbor.ask("READ", "t", number, offset, 1)[0][0] for number, offset in places]
    assert [row[4] if len(row) > 4 else None for row in found] == keys


def test_publish_to_a_named_partition_goes_there(cbor):
    cbor.ask("CREATE", "t", 4)
    assert cbor.ask("PUBLISH", "t", [[b"a", b"k"], b"b"], 3) == [[[3, 0, 2]]]


def test_every_field_of_a_message_comes_back(cbor):
    cbor.ask("PUBLISH", "t", [[b"a", b"k", ["h", b"v", "n", None], 17, b"p"], [None, b"k"]])
    rows, *positions = cbor.ask("READ", "t", 0, "first")
    assert rows[0] == [0, 0, 17, b"a", b"k", ["h", b"v", "n", None], b"p"]
    assert rows[1][3:] == [None, b"k"]
    assert positions == [2, 2, 0]


def test_deliveries_come_as_runs(cbor):
    cbor.ask("PUBLISH", "t", [b"a", b"b"])
    assert cbor.ask("SUBSCRIBE", "t", "g", 10, "first") == ["t", "g"]
    kind, topic, group, partition, rows = cbor.push()
    assert (kind, topic, group, partition) == ("MSG", "t", "g", 0)
    assert [(row[0], row[1], row[3]) for row in rows] == [(0, 0, b"a"), (1, 0, b"b")]


def test_ack_and_nack_take_ranges(cbor):
    cbor.ask("PUBLISH", "t", [b"a", b"b", b"c", b"d"])
    cbor.ask("SUBSCRIBE", "t", "g")
    cbor.push()
    assert cbor.ask("ACK", "t", "g", 0, [[0, 1], [3, 3]]) == [3]
    assert cbor.ask("NACK", "t", "g", 0, [[2, 2]]) == [1]
    assert cbor.push()[4][0][:2] == [2, 1]


def test_an_ack_that_fails_in_its_second_range_settles_the_first(cbor):
    cbor.ask("PUBLISH", "t", [b"a"])
    cbor.ask("SUBSCRIBE", "t", "g")
    cbor.push()
    assert cbor.ask("ACK", "t", "g", 0, [[0, 0], [5, 5]]) == "NOT_IN_FLIGHT"
    assert cbor.ask("GROUP", "t", "g")[0]["lag"] == 0


def test_an_ack_may_leave_out_the_only_group(cbor):
    cbor.ask("PUBLISH", "t", [b"a"])
    cbor.ask("SUBSCRIBE", "t", "g")
    cbor.push()
    assert cbor.ask("ACK", "t", None, 0, [[0, 0]]) == [1]


def test_unsubscribe_gives_back_what_is_in_flight(cbor):
    cbor.ask("PUBLISH", "t", [b"a"])
    cbor.ask("SUBSCRIBE", "t", "g")
    cbor.push()
    assert cbor.ask("UNSUBSCRIBE", "t", "g") == []
    assert cbor.ask("GROUP", "t", "g")[0]["requeued"] == 1


def test_topics_and_groups_are_maps(cbor):
    cbor.ask("CREATE", "t", 2, {"retention_ms": 5000})
    cbor.ask("SUBSCRIBE", "t", "g")
    assert cbor.ask("TOPIC", "t")[0]["settings"] == {"retention_ms": "5000"}
    assert [topic["name"] for topic in cbor.ask("TOPICS")[0]] == ["t"]
    assert [group["name"] for group in cbor.ask("GROUPS", "t")[0]] == ["g"]
    assert cbor.ask("ALTER", "t", {"retention_ms": None}) == []
    assert cbor.ask("TOPIC", "t")[0]["settings"] == {}
    assert cbor.ask("DELETE", "t") == []
    assert cbor.push()[:4] == ["CANCELLED", "t", "g", "UNKNOWN_TOPIC"]


def test_drop_deletes_a_group(cbor):
    cbor.ask("SUBSCRIBE", "t", "g")
    cbor.ask("UNSUBSCRIBE", "t", "g")
    assert cbor.ask("DROP", "t", "g") == []


def test_info_reload_ping_and_help_are_answered(cbor):
    assert cbor.ask("INFO")[0]["state"] == "ready"
    assert cbor.ask("RELOAD") == [{"applied": [], "needs_restart": []}]
    assert cbor.ask("PING") == ["PONG"]
    assert len(cbor.ask("HELP")[0]) == len(TABLE)


def test_hello_text_goes_back_to_lines(cbor):
    assert cbor.ask("HELLO", "text", "name")[0]["mode"] == "text"
    cbor.send_bytes(b"PING\n")
    assert cbor.file.readline() == b"OK PONG\n"


def test_hello_behind_an_unanswered_publish_is_answered_after_it(served):
    peer = served.text()
    peer.send(b"PUBLISH t one\nHELLO cbor\n")
    assert peer.answer() == "OK t/0/0"
    assert peer.answer().startswith('OK {"server":"portask"')


def test_quit_answers_and_closes(cbor):
    assert cbor.ask("QUIT") == ["BYE"]
    assert cbor.is_closed()


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (("PUBLISH", "a b", [b"x"]), "INVALID_TOPIC"),
        (("PUBLISH", "t", ["x"]), "SYNTAX"),
        (("PUBLISH", "t", [b"x"], 9), "UNKNOWN_PARTITION"),
        (("READ", "nothing", 0, 0), "UNKNOWN_TOPIC"),
        (("SUBSCRIBE", "t", "g", 1, "yesterday"), "INVALID"),
        (("ACK", "t", "g", 0, [[0, 0]]), "UNKNOWN_GROUP"),
        (("NOTHING",), "UNKNOWN_COMMAND"),
        (("HELLO", "json"), "INVALID"),
    ],
)
def test_an_error_has_its_code_and_the_connection_goes_on(cbor, request_, code):
    assert cbor.ask(*request_) == code
    assert cbor.ask("PING") == ["PONG"]


def test_pipelined_requests_are_answered_in_order(cbor):
    cbor.send(
        ["PUBLISH", 1, "t", [b"a"]], ["PING", 2], ["NOTHING", 3], ["READ", 4, "t", 0, 0], ["PUBLISH", 5, "t", [b"b"]]
    )
    assert [cbor.answer()[1] for _ in range(5)] == [1, 2, 3, 4, 5]


def test_a_read_behind_a_publish_finds_it(cbor):
    cbor.send(["PUBLISH", 1, "t", [b"a"]], ["READ", 2, "t", 0, 0])
    cbor.answer()
    assert cbor.answer()[2][0][3] == b"a"


def compacted(served, cbor):
    """A topic with the offsets 1, 2, 5, 6 and 7 of eight left."""
    served.broker.create_topic("t", 1, {"cleanup_policy": "compact", "min_cleanable_dirty_ratio": "0"})
    for keys in ("axy", "b", "bbz"):
        cbor.ask("PUBLISH", "t", [[b"value", key.encode()] for key in keys])
    cbor.ask("PUBLISH", "t", [[b"value", b"a"]])
    served.broker.compaction.apply()


@pytest.mark.parametrize("offset", range(9))
@pytest.mark.parametrize("most", [1, 2, 3, 100])
def test_read_gives_what_compaction_left_and_goes_on_behind_it(served, cbor, offset, most):
    compacted(served, cbor)
    left = [1, 2, 5, 6, 7]
    expected = [place for place in left if place >= offset][:most]
    rows, position, *_ = cbor.ask("READ", "t", 0, offset, most)

    assert [row[0] for row in rows] == expected
    assert position == (expected[-1] + 1 if expected else 8)


def test_reading_on_and_on_gives_all_that_compaction_left(served, cbor):
    compacted(served, cbor)
    found, position, end = [], 0, 8
    while position < end:
        rows, position, *_ = cbor.ask("READ", "t", 0, position, 1, 0, 1)
        found += [row[0] for row in rows]

    assert found == [1, 2, 5, 6, 7]
