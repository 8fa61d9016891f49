"""Delayed messages: kept back by their header, routed when they are due by what is there then."""

import pytest

from portask.errors import PreconditionError, ProtocolError, QueueFullError, StorageFullError
from portask.exchanges.delay import decode_target, delay_of, encode_target, fire
from portask.field_table import encode_field, join_table
from portask.message import encode_cbor
from portask.properties import Properties, edited, encode_header, pack, properties_of


class Kept:
    """A schedule that keeps what it gets."""

    def __init__(self):
        self.messages = []

    def add(self, records, size_bytes, due_ms, target, done, *, into=None):
        self.messages.append((records, due_ms, target))
        if done is not None:
            done(None)


@pytest.fixture
def schedule(broker, monkeypatch):
    kept = Kept()
    monkeypatch.setattr(broker.schedule, "add", kept.add)
    return kept


@pytest.fixture
def delayed(host, queue):
    """A function that declares a delaying exchange of that inner type, with a queue bound by a key."""

    def make(kind="direct", key="k", **settings):
        exchange = host.declare_exchange("x", "x-delayed-message", arguments={"x-delayed-type": kind}, **settings)
        queue("q")
        host.bind("x", "queue", "q", key)
        return exchange

    return make


@pytest.fixture
def publish(host):
    """A function that publishes a record to exchange x and returns whether it was routed."""
    return lambda record, *keys: host.publish(host.exchange("x"), keys or ("k",), record, lambda error: None)


def test_a_message_with_a_delay_goes_to_the_schedule(host, delayed, schedule, publish, record, clock):
    delayed()

    assert publish(record(b"later", headers={"x-delay": 5000}))
    assert [(due_ms - clock.now_ms(), decode_target(target)) for _, due_ms, target in schedule.messages] == [
        (5000, ("/", "x", ["k"]))
    ]
    assert host.queues.find("q").ready == 0


@pytest.mark.parametrize("headers", [None, {}, {"x-delay": 0}, {"x-delay": -5}, {"x-delay": "soon"}])
def test_a_message_without_a_delay_goes_on_at_once(delayed, schedule, destinations, headers):
    delayed()

    assert destinations("x", "k", headers=headers) == ["q"]
    assert schedule.messages == []


@pytest.mark.parametrize(
    ("value", "delay_ms"),
    [
        (1, 1),
        (1 << 40, 1 << 40),
        (1500.9, 1500),
        ("250", 250),
        ("-250", 0),
        ("²", 0),
        ("9" * 5000, (1 << 62) - 1),
        (1e300, (1 << 62) - 1),
        (True, 0),
        (None, 0),
        (float("inf"), 0),
        (float("nan"), 0),
        (b"5", 0),
    ],
)
def test_the_delay_is_a_number_of_milliseconds(value, delay_ms):
    assert delay_of({"x-delay": value}) == delay_ms


@pytest.mark.parametrize(("kind", "key"), [("direct", "k"), ("topic", "#"), ("fanout", ""), ("headers", "")])
def test_it_routes_as_the_type_inside(delayed, destinations, kind, key):
    delayed(kind, key)

    assert destinations("x", "k") == ["q"]


def test_a_delayed_message_is_routed_whatever_is_bound(host, delayed, schedule, record, publish):
    delayed()

    assert publish(record(b"later", headers={"x-delay": 1}), "nobody")


def test_messages_of_one_delay_and_key_have_one_destination(host, delayed):
    exchange = delayed()

    assert host.delay(exchange, ("k",), 5) is host.delay(exchange, ["k"], 5)
    assert host.delay(exchange, ("k",), 5) is not host.delay(exchange, ("k",), 6)


def test_destinations_of_many_delays_are_not_all_kept(host, delayed):
    exchange = delayed()
    for delay_ms in range(1, 2000):
        host.delay(exchange, ("k",), delay_ms)

    assert len(host._delays) <= 256


# -- when it is due ---------------------------------------------------------------------------------------------------


def fired(broker, target, records):
    answers = []
    fire(broker, target, records, lambda error, places=None: answers.append(error))
    return answers


def test_what_is_due_is_routed_with_its_delay_negated(broker, host, delayed, schedule, publish, record, wait_until):
    delayed()
    publish(record(b"later", key="k", exchange="x", headers={"x-delay": 5000, "other": 1}))
    records, _, target = schedule.messages[0]
    answers = fired(broker, target, records)
    wait_until(lambda: answers)
    queue = host.queues.find("q")

    assert answers == [None]
    assert queue.ready == 1
    assert len(schedule.messages) == 1


def test_the_negated_delay_is_all_that_changes(broker, host, delayed, record, monkeypatch):
    delayed()
    seen = []
    queue = host.queues.find("q")
    monkeypatch.setattr(queue, "publish", lambda records, size, done, **rest: (seen.extend(records), done(None)))
    sent = record(b"later", key="k", exchange="x", headers={"x-delay": 5000, "other": 1}, message_id="m")
    fired(broker, encode_target("/", "x", ["k"]), [sent])

    (got,) = seen
    assert got[:4] == sent[:4]
    before = properties_of(sent[4])
    assert properties_of(got[4]) == before._replace(headers={"x-delay": -5000, "other": 1})


def test_what_is_due_is_routed_by_what_is_bound_then(broker, host, queue, delayed, record, wait_until):
    delayed()
    host.unbind("x", "queue", "q", "k")
    queue("new")
    host.bind("x", "queue", "new", "k")
    answers = fired(broker, encode_target("/", "x", ["k"]), [record(b"later", headers={"x-delay": 1})])
    wait_until(lambda: answers)

    assert (host.queues.find("q").ready, host.queues.find("new").ready) == (0, 1)


@pytest.mark.parametrize(("virtual_host", "exchange"), [("/", "gone"), ("gone", "x")])
def test_what_is_due_for_an_exchange_that_is_gone_is_dropped(broker, delayed, record, virtual_host, exchange):
    delayed()
    sent = record(b"later", headers={"x-delay": 1})

    assert fired(broker, encode_target(virtual_host, exchange, ["k"]), [sent]) == [None]


def test_what_is_due_and_routed_to_nobody_is_answered(broker, delayed, record):
    delayed()

    assert fired(broker, encode_target("/", "x", ["nobody"]), [record(b"later")]) == [None]


def test_what_is_due_and_cannot_be_stored_is_to_be_tried_again(make_broker, storage, gated_host, record, wait_until):
    gated_host.declare_exchange("x", "x-delayed-message", arguments={"x-delayed-type": "fanout"})
    gated_host.queues.declare("q", durable=True)
    gated_host.bind("x", "queue", "q", "")
    storage.refuses = True
    answers = fired(gated_host._broker, encode_target("/", "x", ["k"]), [record(b"one"), record(b"two")])
    wait_until(lambda: answers)

    assert [type(answer) for answer in answers] == [StorageFullError]


def test_of_what_is_due_only_what_a_full_queue_refuses_is_to_be_tried_again(broker, host, delayed, record, wait_until):
    delayed()
    host.queues.declare("small", durable=False, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    host.bind("x", "queue", "small", "small")
    answers = {}

    def done(error, places):
        for place in places:
            answers[place] = type(error)

    fire(broker, encode_target("/", "x", ["small"]), [record(b"one"), record(b"two"), record(b"three")], done)
    wait_until(lambda: len(answers) == 3)

    assert answers == {0: type(None), 1: QueueFullError, 2: QueueFullError}
    assert host.queues.find("small").ready == 1


def test_what_is_due_is_not_given_twice_to_those_who_took_it_because_another_queue_is_full(
    broker, host, delayed, record, wait_until
):
    delayed("fanout", "")
    small = {"x-max-length": 0, "x-overflow": "reject-publish"}
    host.queues.declare("small", durable=False, arguments=small)
    host.bind("x", "queue", "small", "")
    answers = fired(broker, encode_target("/", "x", [""]), [record(b"one")])
    wait_until(lambda: answers)

    assert answers == [None]
    assert host.queues.find("q").ready == 1


def test_what_is_due_and_became_a_dead_letter_of_a_full_queue_is_done_with(
    broker, host, queue, delayed, record, wait_until
):
    delayed()
    queue("dead")
    arguments = {"x-max-length": 0, "x-overflow": "reject-publish-dlx", "x-dead-letter-exchange": ""}
    arguments["x-dead-letter-routing-key"] = "dead"
    host.queues.declare("small", durable=False, arguments=arguments)
    host.bind("x", "queue", "small", "small")
    answers = fired(broker, encode_target("/", "x", ["small"]), [record(b"one")])
    wait_until(lambda: answers and host.queues.find("dead").ready)

    assert answers == [None]
    assert host.queues.find("dead").ready == 1


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"x-delay": 1 << 40}, {"x-delay": -(1 << 40)}),
        ({"x-delay": "250"}, {"x-delay": -250}),
        ({"x-delay": 1500.5}, {"x-delay": -1500}),
        ({"x-delay": 5, "copy": "\x07x-delay"}, {"x-delay": -5, "copy": "\x07x-delay"}),
        ({"x-delay": -5}, {"x-delay": -5}),
        ({"x-delay": "soon"}, {"x-delay": "soon"}),
        ({"other": 1}, {"other": 1}),
    ],
)
def test_delays_of_all_forms_are_negated(broker, host, delayed, record, monkeypatch, headers, expected):
    delayed()
    seen = []
    queue = host.queues.find("q")
    monkeypatch.setattr(queue, "publish", lambda records, size, done, **rest: (seen.extend(records), done(None)))
    fired(broker, encode_target("/", "x", ["k"]), [record(b"later", exchange="x", headers=headers, message_id="m")])

    properties = properties_of(seen[0][4])
    assert (properties.headers, properties.message_id) == (expected, "m")


def test_the_other_headers_of_a_delayed_message_keep_their_types(broker, host, delayed, monkeypatch):
    delayed()
    seen = []
    queue = host.queues.find("q")
    monkeypatch.setattr(queue, "publish", lambda records, size, done, **rest: (seen.extend(records), done(None)))
    small = encode_field("small", b"b\x05")
    table = join_table({"small": small, "x-delay": encode_field("x-delay", b"S\0\0\0\x03250")})
    header = encode_header(Properties(message_id="m"), 5)
    fired(
        broker, encode_target("/", "x", ["k"]), [(b"later", b"k", None, None, pack("x", edited(header, headers=table)))]
    )

    changed = join_table({"small": small, "x-delay": encode_field("x-delay", b"l" + b"\xff" * 7 + b"\x06")})
    assert seen[0][4] == pack("x", edited(header, headers=changed))


def test_a_name_cut_short_at_the_end_of_the_properties_is_left_alone(broker, host, delayed, monkeypatch):
    delayed()
    seen = []
    queue = host.queues.find("q")
    monkeypatch.setattr(queue, "publish", lambda records, size, done, **rest: (seen.extend(records), done(None)))
    sent = (b"x", b"k", None, None, b"\x07x-delayI\x00")
    fired(broker, encode_target("/", "x", ["k"]), [sent])

    assert seen == [sent]


def test_an_inner_type_that_looks_at_headers_routes_every_message_by_its_own(broker, host, queue, record, wait_until):
    host.declare_exchange("h", "x-delayed-message", arguments={"x-delayed-type": "headers"})
    for name in ("a", "b"):
        queue(name)
        host.bind("h", "queue", name, "", {"to": name})
    records = [record(b"x", headers={"to": name, "x-delay": 5}) for name in ("a", "b", "a")]
    answers = fired(broker, encode_target("/", "h", [""]), records)
    wait_until(lambda: answers)

    assert (host.queues.find("a").ready, host.queues.find("b").ready) == (2, 1)


def test_records_of_other_protocols_are_routed_as_they_are(broker, host, delayed, wait_until):
    delayed()
    answers = fired(broker, encode_target("/", "x", ["k"]), [b"plain", (b"keyed", b"k")])
    wait_until(lambda: answers)

    assert host.queues.find("q").ready == 2


def test_names_of_any_bytes_are_a_target():
    name = b"\xff\x00".decode("utf-8", "surrogateescape")

    assert decode_target(encode_target(name, name, [name, ""])) == (name, name, [name, ""])


@pytest.mark.parametrize("target", [b"", b"\xff", encode_cbor(5), encode_cbor([b"/"]), encode_cbor(["/", "x"])])
def test_what_is_no_target_is_refused(target):
    with pytest.raises(ProtocolError):
        decode_target(target)


# -- declaring --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments", [{}, {"x-delayed-type": "none"}, {"x-delayed-type": 5}, {"x-delayed-type": "x-delayed-message"}]
)
def test_the_type_inside_has_to_exist(host, arguments):
    with pytest.raises(PreconditionError) as refusal:
        host.declare_exchange("x", "x-delayed-message", arguments=arguments)
    assert str(refusal.value) == "Invalid argument, 'x-delayed-type' must be an existing exchange type"


def test_bindings_are_checked_as_the_type_inside_does(host, queue):
    host.declare_exchange("x", "x-delayed-message", arguments={"x-delayed-type": "x-consistent-hash"})
    queue("q")

    with pytest.raises(PreconditionError, match="must be an integer"):
        host.bind("x", "queue", "q", "k")


def test_a_durable_one_comes_back_as_it_was(reopen):
    reopen().declare_exchange("x", "x-delayed-message", durable=True, arguments={"x-delayed-type": "topic"})
    found = reopen().exchange("x")

    assert (found.type, found.is_delaying) == ("x-delayed-message", True)
