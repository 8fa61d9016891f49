"""Compiled functions: what each type is on the wire, in the plain and in the compact form."""

import traceback

import pytest

from portask.errors import ProtocolError
from tests.wire.tables import decoded, encoded, table

PLAIN, COMPACT = 0, 1
STRUCTURE = "a  [S]\n    x  int8\n    y  string\n"

CASES = [
    ("bool", True, "01", "01"),
    ("int8", -2, "fe", "fe"),
    ("int16", -2, "fffe", "fffe"),
    ("uint16", 65535, "ffff", "ffff"),
    ("int32", 7, "00000007", "00000007"),
    ("uint32", 1 << 31, "80000000", "80000000"),
    ("int64", -1, "ff" * 8, "ff" * 8),
    ("float64", 1.5, "3ff8000000000000", "3ff8000000000000"),
    ("uuid", bytes(range(16)), bytes(range(16)).hex(), bytes(range(16)).hex()),
    ("string", "ö", "0002c3b6", "03c3b6"),
    ("string", "", "0000", "01"),
    ("string?", "a", "000161", "0261"),
    ("string?", None, "ffff", "00"),
    ("bytes", b"ab", "000000026162", "036162"),
    ("bytes?", None, "ffffffff", "00"),
    ("records", b"ab", "000000026162", "036162"),
    ("records?", None, "ffffffff", "00"),
    ("[int8]", [1, -1], "0000000201ff", "0301ff"),
    ("[int32]", [], "00000000", "01"),
    ("[bool]", [True, False], "000000020100", "030100"),
    ("[int32]?", None, "ffffffff", "00"),
    ("[int32]?", [5], "0000000100000005", "0200000005"),
    ("[string]", ["a", ""], "0000000200016100" + "00", "03026101"),
    ("[uuid]", [b"x" * 16, b"y" * 16], "00000002" + "78" * 16 + "79" * 16, "03" + "78" * 16 + "79" * 16),
]


@pytest.mark.parametrize(("type_", "value", "plain", "compact"), CASES)
def test_value_is_written_as_its_type_says(type_, value, plain, compact):
    message = table(f"a  {type_}", flexible=COMPACT)

    assert encoded(message, PLAIN, message.value(a=value)).hex() == plain
    assert encoded(message, COMPACT, message.value(a=value)).hex() == compact + "00"


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview])
@pytest.mark.parametrize(("type_", "value", "plain", "compact"), CASES)
def test_value_is_read_as_its_type_says(type_, value, plain, compact, wrap):
    message = table(f"a  {type_}", flexible=COMPACT)

    assert decoded(message, PLAIN, wrap(bytes.fromhex(plain))).a == value
    assert decoded(message, COMPACT, wrap(bytes.fromhex(compact + "00"))).a == value


@pytest.mark.parametrize(
    ("type_", "value", "data"),
    [("S?", None, "ff"), ("S?", 5, "0105"), ("S", 5, "05")],
)
def test_structure_that_may_be_null_has_a_byte_before_it(type_, value, data):
    message = table(f"a  {type_}\n    x  int8\n")
    structure = None if value is None else message.value.S(x=value)

    assert encoded(message, 0, message.value(a=structure)).hex() == data
    assert decoded(message, 0, bytes.fromhex(data)).a == structure


def test_structure_that_may_be_null_may_be_all_that_an_element_has():
    message = table("a  [S]\n    b  R?\n        x  int32\n")
    value = message.value(a=[message.value.S(), message.value.S(b=message.value.R(x=5))])

    assert encoded(message, 0, value).hex() == "00000002" + "ff" + "0100000005"
    assert decoded(message, 0, encoded(message, 0, value)) == value


def test_structures_of_an_array_follow_each_other():
    message = table(STRUCTURE, flexible=COMPACT)
    value = message.value(a=[message.value.S(x=1, y="b"), message.value.S(x=2)])

    assert encoded(message, PLAIN, value).hex() == "00000002" + "01000162" + "020000"
    assert encoded(message, COMPACT, value).hex() == "03" + "01026200" + "020100" + "00"
    assert decoded(message, PLAIN, encoded(message, PLAIN, value)) == value
    assert decoded(message, COMPACT, encoded(message, COMPACT, value)) == value


def test_field_outside_the_version_is_left_out_and_comes_back_as_its_default():
    message = table("a  int8\nb  int8  1+  = 5\nc  [int8]  1+\n")
    value = message.value(a=1, b=2, c=[3])

    assert encoded(message, 0, value) == b"\x01"
    assert decoded(message, 0, b"\x01") == message.value(a=1)


def test_field_that_stays_plain_has_a_plain_length_in_a_flexible_version():
    message = table("a  string?  flexible=none", flexible=0)

    assert encoded(message, 0, message.value(a="x")).hex() == "00017800"
    assert decoded(message, 0, bytes.fromhex("ffff00")).a is None


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 128, 255, 256, 16382, 16383, 16384, 32767])
def test_compact_length_of_any_size_is_read_back(length):
    message = table("n  int8\na  string\nb  [int8]", flexible=0)
    value = message.value(a="x" * length, b=[1] * length)

    assert decoded(message, 0, encoded(message, 0, value)) == value


def test_function_starts_and_ends_where_it_is_told():
    message = table(STRUCTURE)
    data = encoded(message, 0, message.value(a=[message.value.S(x=1, y="b")]))

    value, position = message.decode(0)(b"before" + data + b"behind", 6, 6 + len(data))

    assert (value.a[0].y, position) == ("b", 6 + len(data))


def test_message_without_fields_is_empty_or_the_count_of_no_tags():
    message = table("", flexible=COMPACT)

    assert encoded(message, PLAIN, message.value()) == b""
    assert encoded(message, COMPACT, message.value()) == b"\0"
    assert decoded(message, COMPACT, b"\0") == message.value()


def test_function_is_compiled_once():
    message = table("a  int8")

    assert message.decode(0) is message.decode(0)
    assert message.encode(0) is message.encode(0)


@pytest.mark.parametrize("version", [-1, 4])
def test_version_that_does_not_exist_has_no_functions(version):
    message = table("a  int8")

    with pytest.raises(ValueError, match="T has versions 0 to 3, not"):
        message.decode(version)
    with pytest.raises(ValueError, match="T has versions 0 to 3, not"):
        message.encode(version)


def test_traceback_shows_the_generated_line():
    message = table("a  string")

    with pytest.raises(AttributeError) as error:
        message.encode(0)(message.value(a=None))
    assert "value = value.encode()" in "".join(traceback.format_exception(error.value))


def test_elements_without_bytes_are_refused_when_compiled():
    with pytest.raises(ValueError, match="a: elements without bytes have no bound"):
        table("a  [S]\n    x  int8  2+\n").decode(0)


# -- records and bytes --------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [bytes, memoryview])
def test_records_are_a_view_of_the_buffer(wrap):
    buffer = b"\0\0\0\x03abc"
    value = decoded(table("a  records"), 0, wrap(buffer))

    assert isinstance(value.a, memoryview)
    assert value.a.obj is buffer


@pytest.mark.parametrize("wrap", [bytes, memoryview])
def test_bytes_are_a_copy(wrap):
    assert type(decoded(table("a  bytes"), 0, wrap(b"\0\0\0\x03abc")).a) is bytes


@pytest.mark.parametrize("type_", ["bytes", "records"])
def test_large_value_is_passed_on_without_a_copy(type_):
    message = table(f"x  int8\na  {type_}\ny  int8")
    large = memoryview(b"z" * 256)
    pieces = message.encode(0)(message.value(a=large))

    assert pieces[1] is large
    assert b"".join(pieces) == b"\0" + b"\0\0\1\0" + large + b"\0"


def test_list_of_buffers_is_one_value():
    message = table("a  records")
    parts = [b"z" * 200, memoryview(b"y" * 100)]
    pieces = message.encode(0)(message.value(a=parts))

    assert pieces[1] is parts[0]
    assert pieces[2] is parts[1]
    assert decoded(message, 0, b"".join(pieces)).a == b"z" * 200 + b"y" * 100


def test_short_values_are_copied_together():
    message = table("a  records\nb  bytes")

    assert len(message.encode(0)(message.value(a=[b"z", b"y"], b=bytearray(b"x")))) == 1


# -- tagged fields ------------------------------------------------------------------------------

TAGGED = table(
    """
    n   int8
    t   string    tag=1   = ""
    u   int32     tag=0   = -1
    v   [int8]    tag=4
    w   S         tag=2
        x  int8   = 3
    s   string?   tag=7
    """,
    flexible=0,
)


def test_tagged_fields_with_their_defaults_are_left_out():
    assert encoded(TAGGED, 0, TAGGED.value(w=TAGGED.value.S())) == b"\0\0"


def test_tagged_fields_stand_in_ascending_order():
    value = TAGGED.value(t="a", u=5, v=[1], w=TAGGED.value.S(x=9), s="")

    assert (
        encoded(TAGGED, 0, value).hex()
        == "00" + "05" + "000400000005" + "01020261" + "02020900" + "04020201" + "070101"
    )
    assert decoded(TAGGED, 0, encoded(TAGGED, 0, value)) == value


def test_missing_tagged_structure_is_null():
    assert decoded(TAGGED, 0, b"\0\0") == TAGGED.value(w=None)


def test_large_tagged_value_is_written_whole():
    message = table("a  bytes  tag=0", flexible=0)

    assert decoded(message, 0, encoded(message, 0, message.value(a=b"x" * 1000))).a == b"x" * 1000


def test_unknown_tagged_fields_are_skipped():
    known = "00" + "03" + "000400000005" + "0302ffff" + "ff7f00"

    assert decoded(TAGGED, 0, bytes.fromhex(known)).u == 5


def test_unknown_tagged_fields_are_skipped_where_none_is_known():
    message = table("a  int8", flexible=0)

    assert decoded(message, 0, bytes.fromhex("05" + "02" + "0002ffff" + "0100")).a == 5


def test_count_of_tags_may_be_written_longer_than_needed():
    assert decoded(TAGGED, 0, bytes.fromhex("058000")).n == 5


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("0002" + "000400000005" + "000400000005", "tagged field 0 follows 0"),
        ("0002" + "01020261" + "000400000005", "tagged field 0 follows 1"),
        ("0001" + "000500000005" + "00", "the size of tagged field 0 is not that of its value"),
        ("0001" + "000300000005", "the size of tagged field 0 is not that of its value"),
        ("0001" + "0005000000", "tagged field 0 of 5 bytes is longer than the 3 that are left"),
        ("0001" + "0905000000", "tagged field 9 of 5 bytes is longer than the 3 that are left"),
        ("0003" + "09000a00", "3 tagged fields are too many, or do not fit into the 4 bytes that are left"),
        (
            "00ffffffff0f" + "0900",
            "4294967295 tagged fields are too many, or do not fit into the 2 bytes that are left",
        ),
        ("00ffffffff1f", "a varint is longer than 32 bits"),
        ("00ffffffffff01", "a varint is longer than 32 bits"),
        ("00ff", "T version 0 is cut short"),
    ],
)
def test_broken_tagged_fields_are_refused(data, words):
    with pytest.raises(ProtocolError) as error:
        decoded(TAGGED, 0, bytes.fromhex(data))

    assert str(error.value) == words


def test_broken_tagged_fields_are_refused_where_none_is_known():
    with pytest.raises(ProtocolError, match="3 tagged fields are too many, or do not fit into the 2 bytes"):
        decoded(table("a  int8", flexible=0), 0, bytes.fromhex("05" + "03" + "0000"))
