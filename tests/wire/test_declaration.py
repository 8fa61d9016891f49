"""Declarations and what they are read to."""

import pytest

from handlers.wire.declaration import Versions, parse

SPAN = Versions(2, 9)


def only(text):
    """The one field that *text* declares."""
    (field,) = parse("T", text, SPAN).fields
    return field


@pytest.mark.parametrize(
    ("words", "versions"),
    [("", (2, 9)), ("4+", (4, 9)), ("0+", (2, 9)), ("3-5", (3, 5)), ("7", (7, 7)), ("0-12", (2, 9))],
)
def test_versions_of_a_field_lie_within_those_of_the_message(words, versions):
    assert only(f"a  int32  {words}").versions == versions


def test_versions_of_a_nested_field_lie_within_those_of_its_structure():
    nested = only("a  [S]  4-6\n    b  int8  5+\n").structure.fields[0]

    assert nested.versions == (5, 6)


@pytest.mark.parametrize(
    ("type_", "versions"), [("string", None), ("string?", (2, 9)), ("string?7+", (7, 9)), ("[int8]?3-4", (3, 4))]
)
def test_question_mark_allows_null(type_, versions):
    assert only(f"a  {type_}").null_versions == versions


@pytest.mark.parametrize(
    ("line", "default"),
    [
        ("int32", 0),
        ("int64 = -1", -1),
        ("int32 = 0x7fffffff", 0x7FFFFFFF),
        ("bool", False),
        ("bool = true", True),
        ("bool = false", False),
        ("float64", 0.0),
        ("uuid", bytes(16)),
        ("string", ""),
        ("string?", None),
        ('string? = ""', ""),
        ("string?5+", ""),
        ("string?5+ = null", None),
        ("bytes", b""),
        ("records", None),
        ("[int32]", []),
        ("[int32]?", None),
        ("[int32]? = []", []),
    ],
)
def test_unset_field_has_the_default(line, default):
    found = only(f"a  {line}").default

    assert (found, type(found)) == (default, type(default))


def test_tag_belongs_to_the_field():
    assert only("a  int32  3+  tag=4").tag == 4


def test_field_may_stay_out_of_the_compact_form():
    assert only("a  string  flexible=none").is_plain


def test_comments_and_empty_lines_are_not_fields():
    fields = parse("T", "\n    # all\n    a  int8  # KIP-1\n\n    b  int8  3+  = 2  # why\n", SPAN).fields

    assert [field.name for field in fields] == ["a", "b"]


def test_structure_is_used_again_by_its_name():
    first, second = parse("T", "a  [S]\n    x  int8\nb  S?\n", SPAN).fields

    assert first.structure is second.structure


def test_tagged_fields_come_in_the_order_of_their_tags():
    structure = parse("T", "a  int8  tag=2\nb  int8\nc  int8  tag=0\nd  int8 9 tag=1\n", SPAN)

    assert [field.name for field in structure.tagged_fields_of(3)] == ["c", "a"]
    assert [field.name for field in structure.fields_of(3)] == ["b"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a", "not a field: a"),
        ("a  int32  x", "not a field: a  int32  x"),
        ("a  Nowhere", "neither a type nor a structure with fields: Nowhere"),
        ("a  [S]\n    x  int8\nb  [S]\n    x  int8", "declared twice: S"),
        ("a  int8\n  b  int8", "T: wrong indentation: b  int8"),
        ("a  [S]\n        b  int8", "neither a type nor a structure with fields: S"),
    ],
)
def test_line_that_makes_no_sense_is_named(text, words):
    with pytest.raises(ValueError) as error:
        parse("T", text, SPAN)

    assert str(error.value) == words
