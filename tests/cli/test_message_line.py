"""Messages as lines of JSON."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portask.cli.message_line import decode_line, encode_line
from portask.client.subscription import received
from portask.errors import UsageError
from portask.message import Message

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
data = st.one_of(st.none(), st.binary(max_size=20), texts.map(str.encode))


@given(
    payload=data,
    key=data,
    headers=st.lists(st.tuples(texts, data), max_size=3),
    timestamp=st.integers(0, 2**63 - 1),
    properties=data,
)
def test_line_gives_back_the_message(payload, key, headers, timestamp, properties):
    flat = [part for pair in headers for part in pair]
    line = encode_line(received("t", 1, [17, 0, timestamp, payload, key, flat, properties], None, 0))

    message, place = decode_line(line)

    assert message == Message(payload, key, tuple(headers), timestamp, properties)
    assert place == ("t", 1, 17)
    assert "\n" not in line


def test_empty_fields_are_left_out():
    assert encode_line(received("t", 0, [3, 0, -1, b"x"], None, 0)) == (
        '{"topic":"t","partition":0,"offset":3,"payload":"x"}'
    )


def test_redelivery_is_said():
    assert json.loads(encode_line(received("t", 0, [3, 2, 5, b"x"], None, 0)))["redelivered"] == 2


def test_payload_alone_is_a_message():
    assert decode_line('{"payload": "x"}') == (Message(b"x"), (None, None, None))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("nonsense", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "an object|a JSON object"),
        ("{}", "no payload"),
        ('{"payload":"x","colour":1}', "unknown field 'colour'"),
        ('{"payload":1}', "payload must be text"),
        ('{"payload":{"base64":"*"}}', "no valid"),
        ('{"payload":{"base64":1}}', "no valid"),
        ('{"payload":{"hex":"00"}}', "must be text"),
        ('{"payload":"\\ud800"}', "no valid text"),
        ('{"payload":"x","key":[]}', "key must be"),
        ('{"payload":"x","partition":-1}', "partition must be"),
        ('{"payload":"x","timestamp":1.5}', "timestamp must be"),
        ('{"payload":"x","offset":true}', "offset must be"),
        ('{"payload":"x","headers":{}}', "list of at most"),
        ('{"payload":"x","headers":[["a"]]}', "a header is a pair"),
        ('{"payload":"x","headers":[[1,"b"]]}', "a header is a pair"),
        ('{"payload":"x","headers":[["\\ud800","b"]]}', "header's name"),
    ],
)
def test_line_that_is_no_message_is_refused_with_the_reason(line, words):
    with pytest.raises(UsageError, match=words):
        decode_line(line)


@given(
    st.one_of(
        st.text(),
        st.binary(),
        st.recursive(
            st.none() | st.integers() | texts, lambda inner: st.lists(inner) | st.dictionaries(texts, inner)
        ).map(json.dumps),
    )
)
def test_any_line_is_a_message_or_refused(line):
    with contextlib.suppress(UsageError):
        decode_line(line)
