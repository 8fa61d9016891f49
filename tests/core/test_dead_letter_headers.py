"""What the headers of a dead message say of its deaths, compared with what RabbitMQ 4 writes."""

from datetime import UTC, datetime

import pytest

from portask.properties import EMPTY_HEADER, Properties, encode_header, encoded, pack, properties_of, unpack
from portask.queues.death import Death, Reason, bury, cycling, disown

NOW_MS = 1_700_000_000_123
NOW = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)


def message(body=b"body", key=b"key", exchange="orders", **properties):
    return body, key, None, None, pack(exchange, encode_header(Properties(**properties), len(body)))


def headers(dead):
    return properties_of(dead.record[4]).headers


@pytest.fixture
def rejected():
    """A message that was rejected once."""
    return bury(message(), "jobs", Reason.REJECTED, NOW_MS, "dlx")


def again(dead, queue="jobs", reason=Reason.REJECTED, now_ms=NOW_MS + 60_000, **options):
    return bury(dead.record, queue, reason, now_ms, "dlx", **options)


def test_first_death_has_all_fields(rejected):
    assert headers(rejected)["x-death"] == [
        {
            "count": 1,
            "reason": "rejected",
            "queue": "jobs",
            "time": NOW,
            "exchange": "orders",
            "routing-keys": ["key"],
        }
    ]


def test_count_is_an_integer_of_64_bits_as_java_clients_expect(rejected):
    assert b"\x05countl\0\0\0\0\0\0\0\1" in rejected.header


def test_first_and_last_death_have_headers_of_their_own(rejected):
    assert {name: value for name, value in headers(rejected).items() if name != "x-death"} == {
        "x-first-death-reason": "rejected",
        "x-first-death-queue": "jobs",
        "x-first-death-exchange": "orders",
        "x-last-death-reason": "rejected",
        "x-last-death-queue": "jobs",
        "x-last-death-exchange": "orders",
    }


def test_second_death_changes_the_headers_of_the_last_one_only(rejected):
    second = headers(again(rejected, "late", Reason.EXPIRED))

    assert [second[f"x-first-death-{name}"] for name in ("reason", "queue", "exchange")] == [
        "rejected",
        "jobs",
        "orders",
    ]
    assert [second[f"x-last-death-{name}"] for name in ("reason", "queue", "exchange")] == ["expired", "late", "dlx"]


def test_death_in_the_same_queue_for_the_same_reason_is_counted(rejected):
    (death,) = headers(again(rejected))["x-death"]

    assert death["count"] == 2


def test_time_exchange_and_keys_stay_those_of_the_first_such_death(rejected):
    (death,) = headers(again(rejected, routing_key="other"))["x-death"]

    assert (death["time"], death["exchange"], death["routing-keys"]) == (NOW, "orders", ["key"])


def test_death_for_another_reason_comes_before_the_older_ones(rejected):
    deaths = headers(again(rejected, reason=Reason.MAXLEN))["x-death"]

    assert [(death["reason"], death["count"]) for death in deaths] == [("maxlen", 1), ("rejected", 1)]


def test_death_in_another_queue_comes_before_the_older_ones(rejected):
    deaths = headers(again(rejected, "late"))["x-death"]

    assert [death["queue"] for death in deaths] == ["late", "jobs"]


def test_repeated_death_moves_to_the_front(rejected):
    deaths = headers(again(again(rejected, "late"), "jobs"))["x-death"]

    assert [(death["queue"], death["count"]) for death in deaths] == [("jobs", 2), ("late", 1)]


def test_expiration_is_taken_away_and_told():
    dead = bury(message(expiration="5000"), "jobs", Reason.EXPIRED, NOW_MS, "dlx")

    assert properties_of(dead.record[4]).expiration is None
    assert headers(dead)["x-death"][0]["original-expiration"] == "5000"


def test_death_without_an_expiration_tells_of_none(rejected):
    assert "original-expiration" not in headers(rejected)["x-death"][0]


def test_original_expiration_stays_when_the_message_dies_again():
    dead = bury(message(expiration="5000"), "jobs", Reason.EXPIRED, NOW_MS, "dlx")

    assert headers(again(dead, reason=Reason.EXPIRED))["x-death"][0]["original-expiration"] == "5000"


def test_exchange_becomes_the_dead_letter_exchange(rejected):
    assert unpack(rejected.record[4])[0] == "dlx"


def test_message_keeps_its_routing_keys():
    dead = bury(message(headers={"CC": ["copy", "other"]}), "jobs", Reason.REJECTED, NOW_MS, "dlx")

    assert dead.keys == ("key", "copy", "other")
    assert dead.record[1] == b"key"


def test_header_cc_stays_when_the_keys_stay():
    dead = bury(message(headers={"CC": ["copy"]}), "jobs", Reason.REJECTED, NOW_MS, "dlx")

    assert headers(dead)["CC"] == ["copy"]


def test_dead_letter_routing_key_takes_the_place_of_all_keys():
    dead = bury(message(headers={"CC": ["copy"]}), "jobs", Reason.REJECTED, NOW_MS, "dlx", "dead")

    assert dead.keys == ("dead",)
    assert dead.record[1] == b"dead"


def test_header_cc_goes_with_the_keys():
    dead = bury(message(headers={"CC": ["copy"]}), "jobs", Reason.REJECTED, NOW_MS, "dlx", "dead")

    assert "CC" not in headers(dead)


@pytest.mark.parametrize("routing_key", [None, "dead"])
def test_header_bcc_always_goes(routing_key):
    dead = bury(message(headers={"BCC": ["secret"]}), "jobs", Reason.REJECTED, NOW_MS, "dlx", routing_key)

    assert "BCC" not in headers(dead)


def test_keys_of_bcc_route_and_are_not_told():
    dead = bury(message(headers={"CC": ["copy"], "BCC": ["secret"]}), "jobs", Reason.REJECTED, NOW_MS, "dlx")

    assert dead.keys == ("key", "copy", "secret")
    assert headers(dead)["x-death"][0]["routing-keys"] == ["key", "copy"]


def test_other_properties_stay():
    properties = {"content_type": "text/plain", "delivery_mode": 2, "priority": 7, "message_id": "m", "app_id": "a"}
    dead = bury(message(**properties), "jobs", Reason.REJECTED, NOW_MS, "dlx")

    kept = properties_of(dead.record[4])
    assert {name: getattr(kept, name) for name in properties} == properties


def test_other_headers_stay_byte_by_byte():
    table = b"\x05shorts\x12\x34\x04listA\0\0\0\x04b\1b\2\x05floatf\0\0\0\0"
    header = encode_header(Properties(), 4)[:12] + b"\x20\0" + len(table).to_bytes(4, "big") + table
    dead = bury((b"body", b"key", None, None, pack("orders", header)), "jobs", Reason.REJECTED, NOW_MS, "dlx")

    assert encoded(dead.header, "headers")[4:].startswith(table)


def test_x_death_of_a_publisher_is_not_believed(rejected):
    _, header = unpack(rejected.record[4])
    published = (b"body", b"key", None, None, pack("orders", disown(header)))

    dead = bury(published, "jobs", Reason.REJECTED, NOW_MS, "dlx")

    assert [death["count"] for death in headers(dead)["x-death"]] == [1]


@pytest.mark.parametrize(
    "change",
    [
        {"time": None},
        {"time": "yesterday"},
        {"time": -1},
        {"count": "1"},
        {"count": (1 << 63) - 1},
        {"original-expiration": 5},
        {"queue": ...},
    ],
)
def test_x_death_that_cannot_be_is_none(rejected, change):
    death = {**headers(rejected)["x-death"][0], **change}
    death = {name: value for name, value in death.items() if value is not ...}
    dead = bury(message(headers={"x-death": [death]}), "jobs", Reason.REJECTED, NOW_MS, "dlx")

    assert headers(dead)["x-death"] == headers(rejected)["x-death"]


def test_x_death_that_is_no_array_of_tables_is_none(rejected):
    dead = bury(message(headers={"x-death": [5]}), "jobs", Reason.REJECTED, NOW_MS, "dlx")

    assert headers(dead)["x-death"] == headers(rejected)["x-death"]


def test_death_after_a_disowned_one_is_believed(rejected):
    _, header = unpack(rejected.record[4])
    published = (b"body", b"key", None, None, pack("orders", disown(header)))
    dead = bury(published, "jobs", Reason.REJECTED, NOW_MS, "dlx")

    assert headers(again(dead))["x-death"][0]["count"] == 2


def test_first_death_header_of_a_publisher_is_replaced():
    dead = bury(message(headers={"x-first-death-queue": "made up"}), "jobs", Reason.REJECTED, NOW_MS, "dlx")

    assert headers(dead)["x-first-death-queue"] == "jobs"


@pytest.mark.parametrize(
    "record", [b"body", (b"body",), (b"body", None, None, 5), (b"body", None, None, None, b"\xff")]
)
def test_message_of_another_protocol_gets_properties(record):
    dead = bury(record, "jobs", Reason.EXPIRED, NOW_MS, "dlx")

    assert dead.record[0] == b"body"
    assert dead.keys == ("jobs",)
    assert headers(dead)["x-death"][0]["exchange"] == ""


def test_content_header_has_the_size_of_the_body():
    assert bury(b"body", "jobs", Reason.EXPIRED, NOW_MS, "dlx").header[4:12] == b"\0\0\0\0\0\0\0\4"


def test_headers_of_another_protocol_stay():
    dead = bury((b"body", b"key", ["name", b"value"]), "jobs", Reason.EXPIRED, NOW_MS, "dlx")

    assert dead.record[2] == ["name", b"value"]


def test_tombstone_is_an_empty_body():
    assert bury((None, b"key"), "jobs", Reason.EXPIRED, NOW_MS, "dlx").record[0] == b""


def test_names_that_are_not_utf_8_survive():
    dead = bury(message(key=b"\xff"), "\udcfe", Reason.REJECTED, NOW_MS, "dlx")
    (death,) = again(dead, "\udcfe").deaths

    assert (death.queue, death.routing_keys, death.count) == ("\udcfe", ("\udcff",), 2)


def deaths(*names):
    return [Death(queue, reason, 1, 0, "", (), None) for queue, reason in names]


def test_queue_that_a_message_died_in_is_a_cycle():
    assert cycling(deaths(("a", "expired"), ("b", "maxlen"))) == {"a", "b"}


def test_rejection_breaks_the_cycle_with_what_came_before_it():
    assert cycling(deaths(("a", "expired"), ("b", "rejected"), ("c", "expired"))) == {"a"}


def test_rejected_message_may_come_back():
    assert cycling(deaths(("a", "rejected"))) == set()


def test_message_without_properties_has_an_empty_header():
    assert unpack(None) == ("", EMPTY_HEADER)


def test_content_header_that_cannot_be_read_is_none():
    broken = pack("orders", encode_header(Properties(message_id="m"), 4)[:-1])
    dead = bury((b"body", b"key", None, None, broken), "jobs", Reason.EXPIRED, NOW_MS, "dlx")

    assert dead.keys == ("key",)
    assert headers(dead)["x-death"][0]["reason"] == "expired"
