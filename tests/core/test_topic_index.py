"""The topic index: patterns found by walking a key's words, compared with a matcher that tries them all."""

from hypothesis import given
from hypothesis import strategies as st

from portask.exchanges.topic_index import TopicIndex

WORDS = st.sampled_from(["a", "b", "", "long"])
KEYS = st.lists(WORDS, max_size=6).map(".".join)
PATTERNS = st.lists(st.one_of(WORDS, st.sampled_from(["*", "#"])), max_size=6).map(".".join)


def words_of(text):
    return text.split(".") if text else []


def fits(pattern, key):
    """Whether the words of *pattern* fit those of *key*: the specification, word by word."""
    if not pattern:
        return not key
    if pattern[0] == "#":
        return fits(pattern[1:], key) or (bool(key) and fits(pattern, key[1:]))
    return bool(key) and pattern[0] in ("*", key[0]) and fits(pattern[1:], key[1:])


def matched(index, key):
    return sorted(index.match(key))


@given(st.lists(PATTERNS, max_size=12), st.lists(KEYS, min_size=1, max_size=5))
def test_a_key_finds_the_patterns_that_fit_it_and_no_others(patterns, keys):
    index = TopicIndex()
    for number, pattern in enumerate(patterns):
        index.add(pattern, number)

    for key in keys:
        expected = [number for number, pattern in enumerate(patterns) if fits(words_of(pattern), words_of(key))]
        assert matched(index, key) == expected


@given(st.lists(st.tuples(PATTERNS, st.booleans()), max_size=12), KEYS)
def test_removed_patterns_leave_the_others_as_if_they_had_never_been(patterns, key):
    index = TopicIndex()
    for number, (pattern, _) in enumerate(patterns):
        index.add(pattern, number)
    for number, (pattern, stays) in enumerate(patterns):
        if not stays:
            index.remove(pattern, number)

    expected = [
        number for number, (pattern, stays) in enumerate(patterns) if stays and fits(words_of(pattern), words_of(key))
    ]
    assert matched(index, key) == expected


@given(st.lists(PATTERNS, max_size=12))
def test_nothing_is_kept_of_patterns_that_are_all_removed(patterns):
    index = TopicIndex()
    for number, pattern in enumerate(patterns):
        index.add(pattern, number)
    for number, pattern in enumerate(patterns):
        index.remove(pattern, number)

    assert index._root.is_bare


def test_what_was_not_added_can_be_removed():
    index = TopicIndex()
    index.add("a.b", 1)

    for pattern in ("a", "a.c", "a.*", "a.#", "a.b.c"):
        index.remove(pattern, 1)
    index.remove("a.b", 2)

    assert matched(index, "a.b") == [1]


def test_a_star_in_a_key_is_a_word_like_others():
    index = TopicIndex()
    index.add("a.b", 1)
    index.add("a.*", 2)

    assert matched(index, "a.*") == [2]


def test_the_empty_key_has_no_words():
    index = TopicIndex()
    for pattern in ("", "#", "*", "#.#"):
        index.add(pattern, pattern)

    assert matched(index, "") == ["", "#", "#.#"]


def test_dots_alone_make_empty_words():
    index = TopicIndex()
    for pattern in (".", "*.*", "*", "*.*.*"):
        index.add(pattern, pattern)

    assert matched(index, ".") == ["*.*", "."]


def test_a_value_under_two_patterns_that_fit_is_found_under_both():
    index = TopicIndex()
    index.add("a.#", "q")
    index.add("*.b", "q")

    assert matched(index, "a.b") == ["q", "q"]


def test_ten_thousand_patterns_are_walked_not_scanned():
    index = TopicIndex()
    for number in range(10_000):
        index.add(f"orders.{number}.*.#", number)
    visited = []
    node = index._root
    while node is not None:
        visited.append(node)
        node = node.words.get("orders") or node.words.get("77") or node.any_word or node.any_number

    assert matched(index, "orders.77.x.y.z") == [77]
    assert len(visited) == 5
