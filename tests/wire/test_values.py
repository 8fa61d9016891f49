"""The classes that values are of."""

import pytest

from tests.wire.tables import table

TABLE = table(
    """
    a     int32            = -1
    list  [int8]
    deep  [Outer]
        inner  Inner?
            x  int8
    """
)


def test_value_has_the_defaults_of_what_is_not_given():
    value = TABLE.value(deep=[TABLE.value.Outer()])

    assert (value.a, value.list, value.deep[0].inner) == (-1, [], None)


def test_two_values_do_not_share_a_default():
    first, second = TABLE.value(), TABLE.value()
    first.list.append(1)

    assert second.list == []


def test_value_takes_no_other_field():
    with pytest.raises(AttributeError):
        TABLE.value().b = 1


def test_class_is_made_by_keyword_only():
    with pytest.raises(TypeError):
        TABLE.value(1)


def test_nested_class_is_found_in_its_own_structure_and_in_the_message():
    assert TABLE.value.Outer.Inner is TABLE.value.Inner


def test_values_with_equal_fields_are_equal():
    assert TABLE.value(a=1) == TABLE.value(a=1)
    assert TABLE.value(a=1) != TABLE.value(a=2)


def test_values_of_two_classes_are_not_equal():
    assert TABLE.value.Inner() != TABLE.value.Outer()


def test_value_shows_its_fields():
    assert repr(TABLE.value.Inner(x=3)) == "T.Outer.Inner(x=3)"


def test_message_without_fields_has_a_class():
    assert repr(table("").value()) == "T()"
