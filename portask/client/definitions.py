"""Definitions in parts that a server takes in one request: a few hundred entries of one list at a time.

Lists keep their order, and the order among them is the one in which what others need comes first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from portask.definitions.lists import SECTIONS

PART_ENTRIES = 500


class Part(NamedTuple):
    """Some entries of one list, and where they begin in it."""

    definitions: dict[str, Any]
    name: str
    begin: int

    def add(self, result: Mapping[str, Any], outcome: dict[str, Any]) -> None:
        """Add what the server says about this part to the *outcome* of the whole."""
        for name, count in result["imported"].items():
            outcome["imported"][name] = outcome["imported"].get(name, 0) + count
        for failure in result["failed"]:
            outcome["failed"].append({**failure, "number": failure["number"] + self.begin})
        for place in result["ignored"]:
            outcome["ignored"].append(self._moved(place))

    def _moved(self, place: str) -> str:
        number, bracket, rest = place.removeprefix(f"{self.name}[").partition("]")
        if not self.name or not bracket or not place.startswith(f"{self.name}["):
            return place
        return f"{self.name}[{int(number) + self.begin}]{rest}"


def parts(definitions: Mapping[str, Any]) -> Iterator[Part]:
    """*definitions* in parts; the first has all that is no list of entries."""
    rest = {name: value for name, value in definitions.items() if not _is_list(name, value)}
    yield Part(rest, "", 0)
    remarks = {name: value for name, value in rest.items() if name in ("rabbit_version", "rabbitmq_version")}
    for name in SECTIONS:
        entries = definitions.get(name)
        if _is_list(name, entries):
            for begin in range(0, len(entries or ()), PART_ENTRIES):
                yield Part({**remarks, name: (entries or [])[begin : begin + PART_ENTRIES]}, name, begin)


def _is_list(name: str, value: Any) -> bool:
    return name in SECTIONS and isinstance(value, list)
