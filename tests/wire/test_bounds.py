"""Broken bytes: refused before anything is made of them."""

import tracemalloc

import pytest

from handlers.wire.decoder import MAX_ELEMENTS
from portask.errors import ProtocolError
from tests.wire.tables import decoded, table

PLAIN, COMPACT = 0, 1
PEAK_BYTES = 50_000
TYPES = ["string", "string?", "bytes", "bytes?", "records", "records?"]
ARRAYS = ["[int8]", "[int32]?", "[uuid]", "[string]", "[bytes]?"]
STRUCTURES = ["[S]\n    x  int8", "[S]?\n    x  string\n    y  [int8]", "[S]\n    x  [string]"]
LENGTHS = {
    2: ["7fff", "fffe", "8000"],
    4: ["7fffffff", "fffffffe", "80000000", "00010000"],
}
VARINTS = ["ffffffff0f", "80808008", "ff7f", "feffffff0f"]


def refusal(message, version, data):
    """What decoding *data* raises, and the most memory that it took."""
    decode = message.decode(version)
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError) as error:
            decode(data, 0, len(data))
        return str(error.value), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("type_", TYPES + ARRAYS + STRUCTURES)
def test_length_beyond_the_bytes_that_are_left_is_refused_without_memory(type_):
    message = table(f"a  {type_}")
    width = 2 if type_.startswith("string") else 4
    for length in LENGTHS[width]:
        _, peak = refusal(message, PLAIN, bytes.fromhex(length) + bytes(100))

        assert peak < PEAK_BYTES


@pytest.mark.parametrize("type_", TYPES + ARRAYS + STRUCTURES)
def test_compact_length_beyond_the_bytes_that_are_left_is_refused_without_memory(type_):
    message = table(f"a  {type_}", flexible=COMPACT)
    for length in VARINTS:
        _, peak = refusal(message, COMPACT, bytes.fromhex(length) + bytes(100))

        assert peak < PEAK_BYTES


@pytest.mark.parametrize("type_", ["string", "bytes", "records"])
def test_null_is_refused_where_it_is_not_allowed(type_):
    message = table(f"a  {type_}", flexible=COMPACT)
    null = b"\xff\xff" if type_ == "string" else b"\xff\xff\xff\xff"

    assert refusal(message, PLAIN, null)[0] == "a is null or has a negative length"
    assert refusal(message, COMPACT, b"\0\0")[0] == "a is null or has a negative length"


@pytest.mark.parametrize("type_", ["[int32]", "[string]", "[S]\n    x  int8"])
def test_null_array_is_refused_where_it_is_not_allowed(type_):
    message = table(f"a  {type_}", flexible=COMPACT)

    assert refusal(message, PLAIN, b"\xff\xff\xff\xff")[0] == "a is null or has a negative count"
    assert refusal(message, COMPACT, b"\0\0")[0] == "a is null or has a negative count"


def test_null_is_refused_in_versions_that_do_not_allow_it():
    message = table("a  string?1+")

    assert decoded(message, 1, b"\xff\xff").a is None
    assert refusal(message, 0, b"\xff\xff")[0] == "a is null or has a negative length"


def test_string_that_is_not_utf_8_is_refused():
    assert refusal(table("a  string"), 0, b"\0\2\xc3\x28")[0] == "a string of T is not UTF-8"


def test_surrogates_are_not_utf_8():
    assert refusal(table("a  string"), 0, b"\0\3\xed\xa0\x80")[0] == "a string of T is not UTF-8"


def test_compact_string_is_no_longer_than_a_plain_one_could_be():
    message = table("a  string", flexible=0)
    data = b"\x81\x80\x02" + b"x" * 32768 + b"\0"

    assert refusal(message, 0, data)[0].startswith("a of 32768 bytes is too long")


def test_fields_that_lie_behind_the_end_are_not_read():
    message = table("a  int32\nb  int32")

    with pytest.raises(ProtocolError, match="T version 0 is cut short"):
        message.decode(0)(bytes(100), 50, 57)


def test_string_that_ends_behind_the_end_is_not_read():
    with pytest.raises(ProtocolError, match="a of 3 bytes is too long, or longer than the 2 that are left"):
        table("a  string").decode(0)(b"\0\3abc", 0, 4)


def test_array_that_ends_behind_the_end_is_not_read():
    with pytest.raises(ProtocolError, match="2 elements of a are too many, or do not fit into the 1 bytes"):
        table("a  [int8]").decode(0)(b"\0\0\0\2\1\2", 0, 5)


def test_most_elements_are_read():
    message = table("a  [int8]")
    data = MAX_ELEMENTS.to_bytes(4, "big") + bytes(MAX_ELEMENTS)

    assert len(decoded(message, 0, data).a) == MAX_ELEMENTS


def test_more_elements_are_refused_without_memory():
    data = (MAX_ELEMENTS + 1).to_bytes(4, "big") + bytes(MAX_ELEMENTS + 1)
    words, peak = refusal(table("a  [int8]"), 0, data)

    assert words.startswith(f"{MAX_ELEMENTS + 1} elements of a are too many")
    assert peak < PEAK_BYTES


def test_elements_of_all_arrays_count_together():
    message = table("a  [S]\n    b  [int8]", flexible=0)
    half = MAX_ELEMENTS // 2
    inner = message.value.S(b=[0] * half)

    one = b"".join(message.encode(0)(message.value(a=[inner])))
    two = b"".join(message.encode(0)(message.value(a=[inner, inner])))

    assert decoded(message, 0, one).a == [inner]
    assert refusal(message, 0, two)[0].startswith(f"{half} elements of b are too many")
