"""Whatever comes in: commands and refusals come out, the same however it is cut."""

import cbor2
from hypothesis import given
from hypothesis import strategies as st

from handlers.native.codec import Decoder
from handlers.native.command import Command, Limits, Refusal
from handlers.native.verbs import VERBS
from portask.errors import PortaskError
from tests.native.codec_case import shown
from tests.native.peer import frame

LIMITS = Limits(line_bytes=100, message_bytes=200, command_bytes=500, command_messages=20)

verbs = st.sampled_from(sorted(VERBS))
words = st.text("ab/019-=%. @", max_size=12)
lines = st.builds(lambda verb, rest: f"{verb} {' '.join(rest)}\n".encode(), verbs, st.lists(words, max_size=5))
bodies = st.builds(lambda size: b"PUBLISHB t %d\n" % size + b"x" * size, st.integers(0, 210))
scalars = st.none() | st.booleans() | st.integers() | st.binary(max_size=20) | st.text(max_size=10) | st.floats()
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(scalars, inner, max_size=3))
requests = st.builds(
    lambda verb, correlation, rest: frame([verb, correlation, *rest]),
    verbs | scalars,
    st.integers(0, 9) | scalars,
    st.lists(values, max_size=6),
)
pieces = st.lists(st.binary(max_size=60) | lines | bodies | requests | st.just(b"HELLO cbor\n"), max_size=8)


@given(pieces, st.lists(st.integers(1, 40), min_size=1, max_size=5))
def test_any_bytes_give_commands_and_refusals_only_however_they_are_cut(parts, steps):
    data = b"".join(parts)
    whole = Decoder(LIMITS).feed(data)
    for item in whole:
        assert isinstance(item, Command) or (isinstance(item, Refusal) and isinstance(item.error, PortaskError))
    decoder = Decoder(LIMITS)
    found, position, turn = [], 0, 0
    while position < len(data):
        step = steps[turn % len(steps)]
        found += decoder.feed(data[position : position + step])
        position += step
        turn += 1
    assert list(map(shown, found)) == list(map(shown, whole))


@given(st.lists(requests, max_size=5))
def test_any_cbor_in_a_frame_leaves_the_stream_in_step(frames):
    decoder = Decoder(LIMITS._replace(command_bytes=1 << 20))
    decoder.feed(b"HELLO cbor\n")
    for data in frames:
        if cbor2.loads(data[4:])[:1] == ["HELLO"]:
            continue
        assert len(decoder.feed(data)) == 1
        assert not decoder.closed
