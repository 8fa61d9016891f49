"""Our methods against those of pamqp and pika, field by field and byte by byte."""

import inspect

import pika.spec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pamqp import commands, frame, header
from pamqp.exceptions import CLASS_MAPPING, AMQPHardError

from handlers.amqp import codec
from handlers.amqp.methods import METHODS
from tests.oracle.amqp_methods import PAMQP, PIKA, TYPES

EVERY = sorted(METHODS.items())
WITHOUT_ACCESS = [(ids, method) for ids, method in EVERY if method.class_id != 30]
PAMQP_IS_STRICT = {"queue", "exchange", "routing_key", "source", "destination", "virtual_host", "capabilities", "type"}
"""pamqp refuses values that the specification does not allow and brokers do."""
PIKA_MISTAKES = {("connection.update-secret", "new_secret"): "mechanisms"}
"""Where pika reads an argument into."""
FEW = settings(max_examples=20)

words = st.text("abcdefgh-._é€", max_size=60)
plain_words = st.text("abcdefgh-._", max_size=40)
values_of = {
    "uint8": st.integers(0, (1 << 8) - 1),
    "uint16": st.integers(0, (1 << 16) - 1),
    "uint32": st.integers(0, (1 << 32) - 1),
    "uint64": st.integers(0, (1 << 63) - 1),
    "short_string": words,
    "long_string": words.map(str.encode),
    "bit": st.booleans(),
    "table": st.dictionaries(
        plain_words, st.booleans() | st.integers(-(1 << 31), (1 << 31) - 1) | words | st.none(), max_size=4
    ),
}
FIXED = {
    # pamqp's rules for what only has one value.
    ("connection.open", "capabilities"): "",
    ("connection.open", "insist"): False,
    ("connection.open-ok", "known_hosts"): "",
    ("channel.open", "out_of_band"): "0",
    ("channel.open-ok", "channel_id"): b"0",
    ("basic.get-empty", "cluster_id"): "",
}


def names(case):
    return case[1].name


def values(method):
    """A strategy of values that all packages can hold."""
    fields = {}
    for name, kind, _ in method.arguments:
        if (method.name, name) in FIXED:
            fields[name] = st.just(FIXED[method.name, name])
        elif name == "ticket" and method.class_id != 30:
            fields[name] = st.just(0)
        elif name in PAMQP_IS_STRICT:
            fields[name] = plain_words
        else:
            fields[name] = values_of[kind]
    return st.builds(method.value, **fields)


def as_ours(value):
    """What we have for a value of another package."""
    return value.encode() if isinstance(value, str) else value


def same(ours, theirs):
    """Whether two arguments are the same; long strings are text elsewhere."""
    return ours == (as_ours(theirs) if isinstance(ours, bytes) else theirs)


# -- tables --------------------------------------------------------------------------------------


def test_methods_are_those_of_pika():
    assert set(METHODS) == set(PIKA)


def test_methods_are_those_of_pamqp_and_class_access():
    assert set(METHODS) == set(PAMQP) | {(30, 10), (30, 11)}


@pytest.mark.parametrize("case", EVERY, ids=names)
def test_name_is_that_of_pika(case):
    ids, method = case
    theirs = PIKA[ids].cls.NAME

    assert method.name.replace("-", "").replace(".", "") == theirs.replace(".", "").lower()


@pytest.mark.parametrize("case", EVERY, ids=names)
def test_arguments_are_those_of_pika(case):
    ids, method = case

    assert [name for name, _, _ in method.arguments] == list(PIKA[ids].arguments)


@pytest.mark.parametrize("case", WITHOUT_ACCESS, ids=names)
def test_arguments_and_types_are_those_of_pamqp(case):
    ids, method = case
    cls, arguments = PAMQP[ids]
    theirs = [(ours, TYPES[getattr(cls, "_" + name)]) for ours, name in arguments.items()]

    assert [(name, kind) for name, kind, _ in method.arguments] == theirs


@pytest.mark.parametrize("case", EVERY, ids=names)
def test_defaults_are_those_of_pika(case):
    ids, method = case
    cls, arguments = PIKA[ids]
    parameters = inspect.signature(cls.__init__).parameters
    for name, _, default in method.arguments:
        theirs = parameters[arguments[name]].default
        if theirs is None or theirs is inspect.Parameter.empty:
            assert not default or (method.name, name) == ("exchange.declare", "type")
        else:
            assert same(default, getattr(theirs, "value", theirs)), name


@pytest.mark.parametrize("case", EVERY, ids=names)
def test_synchronous_methods_are_those_of_pika(case):
    ids, method = case

    assert method.is_synchronous == PIKA[ids].cls.synchronous.fget(None)


@pytest.mark.parametrize("case", WITHOUT_ACCESS, ids=names)
def test_synchronous_methods_are_those_of_pamqp(case):
    ids, method = case

    assert method.is_synchronous == PAMQP[ids].cls.synchronous


@pytest.mark.parametrize("case", EVERY, ids=names)
def test_methods_with_content_are_those_of_pika(case):
    ids, method = case

    assert method.has_content == pika.spec.has_content(PIKA[ids].cls.INDEX)


# -- bytes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", EVERY, ids=names)
def test_value_survives(case):
    method = case[1]

    @FEW
    @given(values(method))
    def survives(value):
        assert method.decode(method.encode(value)) == value

    survives()


@pytest.mark.parametrize("case", EVERY, ids=names)
def test_pika_reads_what_we_write_and_writes_the_same(case):
    ids, method = case
    cls, arguments = PIKA[ids]

    @FEW
    @given(values(method))
    def agree(value):
        payload = method.encode(value)
        empty = {name: "" for name, parameter in inspect.signature(cls.__init__).parameters.items() if name != "self"}
        theirs = cls(**empty).decode(payload, 4)
        for ours, name in arguments.items():
            read_into = PIKA_MISTAKES.get((method.name, name), name)
            assert same(getattr(value, ours), getattr(theirs, read_into))
            setattr(theirs, name, getattr(theirs, read_into))
        assert b"".join(theirs.encode()) == payload[4:]

    agree()


@pytest.mark.filterwarnings("ignore:This command is deprecated:DeprecationWarning")
@pytest.mark.parametrize("case", WITHOUT_ACCESS, ids=names)
def test_pamqp_reads_what_we_write_and_writes_the_same(case):
    ids, method = case
    cls, arguments = PAMQP[ids]

    @FEW
    @given(values(method), st.integers(1, 2047))
    def agree(value, channel):
        data = codec.encode_method_frame(channel, value)
        size, number, theirs = frame.unmarshal(data)
        assert (size, number, type(theirs)) == (len(data), channel, cls)
        for ours, name in arguments.items():
            assert same(getattr(value, ours), getattr(theirs, name))
        # It writes integers of tables in as few bytes as there are letters for; see the test of tables.
        if "table" not in [kind for _, kind, _ in method.arguments]:
            assert frame.marshal(theirs, channel) == data

    agree()


@given(st.binary(max_size=200), st.integers(1, 2047), words.filter(bool))
def test_pamqp_reads_our_content(body, channel, content_type):
    properties = header.ContentHeader(0, len(body), commands.Basic.Properties(content_type=content_type))
    payload = frame.marshal(properties, channel)[7:-1]
    data = b"".join(codec.encode_content(channel, payload, body, 4096))

    size, number, theirs = frame.unmarshal(data)
    assert (number, theirs.body_size, theirs.properties.content_type) == (channel, len(body), content_type)
    if body:
        assert frame.unmarshal(data[size:])[2].value == body
    else:
        assert size == len(data)


# -- constants -----------------------------------------------------------------------------------


def test_constants_are_those_of_pika():
    assert (codec.FRAME_METHOD, codec.FRAME_HEADER, codec.FRAME_BODY, codec.FRAME_HEARTBEAT, codec.FRAME_END) == (
        pika.spec.FRAME_METHOD,
        pika.spec.FRAME_HEADER,
        pika.spec.FRAME_BODY,
        pika.spec.FRAME_HEARTBEAT,
        pika.spec.FRAME_END,
    )


def test_protocol_header_and_heartbeat_are_those_of_pamqp():
    assert frame.marshal(header.ProtocolHeader(), 0) == codec.PROTOCOL_HEADER
    assert frame.marshal(frame.heartbeat.Heartbeat(), 0) == codec.HEARTBEAT


@pytest.mark.parametrize("code", sorted(codec.REPLIES))
def test_reply_code_has_the_name_that_pika_has(code):
    theirs = {"REPLY_SUCCESS": "OK"}
    names = [name for name, value in vars(pika.spec).items() if value == code and name.isupper()]

    assert codec.REPLIES[code].name in [theirs.get(name, name) for name in names]


@pytest.mark.parametrize("code", sorted(CLASS_MAPPING))
def test_reply_code_closes_what_pamqp_says(code):
    reply = codec.REPLIES[code]

    assert reply.name.replace("_", "-") == CLASS_MAPPING[code].name
    assert reply.closes_connection == issubclass(CLASS_MAPPING[code], AMQPHardError)
