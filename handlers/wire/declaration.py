"""Declarations: the text of a table, read into structures.

    name  type  [versions]  [tag=N]  [flexible=none]  [= default]  [# comment]

    type     := a name of `types.TYPES` | Name | [type], with `?` behind it where null is allowed
    versions := 3 | 3+ | 3-5           all of the enclosing structure's when missing
    default  := number | true | false | null | "" | []

`?` may be followed by the versions in which null is allowed: `string?7+`. A `Name` is a structure whose
fields follow, indented by four; used again further down it stands alone. Unset, a field is 0, false, empty
or, where all its versions allow it, null; a tagged structure is null, which here means that it is left out.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from textwrap import dedent
from typing import TYPE_CHECKING, NamedTuple

from handlers.wire.types import TYPES, Bit, Table

if TYPE_CHECKING:
    from collections.abc import Iterator

INDENT = 4
BITS_OF_A_BYTE = 8
_LINE = re.compile(
    r"""(?P<indent>\ *)(?P<name>[a-z]\w*)
    \s+(?P<type>\w+|\[\w+\])(?P<nullable>\?(?P<null_versions>[\d+-]*))?
    (\s+(?P<versions>\d+(\+|-\d+)?))?
    (\s+tag=(?P<tag>\d+))?
    (?P<plain>\s+flexible=none)?
    (\s+=\s+(?P<default>\S+))?
    \s*(\#.*)?""",
    re.VERBOSE,
)
_WORDS = {"null": None, "true": True, "false": False}


class Versions(NamedTuple):
    """A range of versions, both ends included."""

    first: int
    last: int

    def covers(self, version: int) -> bool:
        """Whether *version* lies in the range."""
        return self.first <= version <= self.last

    def within(self, text: str | None) -> Versions:
        """The part of this range that *text* names: all of it for None or nothing."""
        if not text:
            return self
        first, dash, last = text.rstrip("+").partition("-")
        stop = int(last) if dash else self.last if text.endswith("+") else int(first)
        return Versions(max(self.first, int(first)), min(self.last, stop))


@dataclass(frozen=True, slots=True)
class Field:
    """One line of a declaration."""

    name: str
    type: str
    """Name of the type, or of the structure; for an array that of its elements."""
    is_array: bool
    versions: Versions
    null_versions: Versions | None
    tag: int | None
    is_plain: bool
    """Never in the compact form."""
    default: object
    structure: Structure | None

    def is_nullable(self, version: int) -> bool:
        """Whether null is allowed in *version*."""
        return self.null_versions is not None and self.null_versions.covers(version)


@dataclass(frozen=True, slots=True)
class Structure:
    """Fields in their order, by the name that the format gives them."""

    name: str
    fields: tuple[Field, ...]

    def fields_of(self, version: int) -> list[Field]:
        """The fields that *version* has in the body of the structure."""
        return [field for field in self.fields if field.versions.covers(version) and field.tag is None]

    def tagged_fields_of(self, version: int) -> list[Field]:
        """The tagged fields that *version* has, in ascending order of their tags."""
        found = [(field.tag, field) for field in self.fields if field.versions.covers(version)]
        return [field for _, field in sorted((tag, field) for tag, field in found if tag is not None)]


def in_runs(fields: list[Field]) -> Iterator[list[Field]]:
    """*fields* in their order: up to eight neighbouring bits together, because they share a byte, all others alone."""
    bits: list[Field] = []
    for field in fields:
        if isinstance(TYPES.get(field.type), Bit) and len(bits) < BITS_OF_A_BYTE:
            bits.append(field)
            continue
        if bits:
            yield bits
        bits = [field] if isinstance(TYPES.get(field.type), Bit) else []
        if not bits:
            yield [field]
    if bits:
        yield bits


def parse(name: str, text: str, versions: Versions) -> Structure:
    """The structure *name* that *text* declares. Raises ValueError with the line that is wrong."""
    lines = [line for line in dedent(text).splitlines() if line.strip() and not line.lstrip().startswith("#")]
    parser = _Parser(lines)
    structure = Structure(name, parser.fields(0, versions))
    if parser.position < len(lines):
        raise ValueError(f"{name}: wrong indentation: {lines[parser.position].strip()}")
    return structure


class _Parser:
    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self.position = 0
        self.structures: dict[str, Structure] = {}

    def fields(self, indent: int, versions: Versions) -> tuple[Field, ...]:
        """The fields from here on that stand at *indent*."""
        found = []
        while self.position < len(self.lines):
            line = self.lines[self.position]
            match = _LINE.fullmatch(line)
            if match is None:
                raise ValueError(f"not a field: {line.strip()}")
            if len(match["indent"]) != indent:
                break
            self.position += 1
            found.append(self.field(match, indent, versions))
        return tuple(found)

    def field(self, match: re.Match[str], indent: int, versions: Versions) -> Field:
        """The field that a line declares, with those below it."""
        is_array = match["type"].startswith("[")
        kind = match["type"].strip("[]")
        own = versions.within(match["versions"])
        null_versions = own.within(match["null_versions"]) if match["nullable"] else None
        tag = int(match["tag"]) if match["tag"] else None
        structure = None
        if isinstance(TYPES.get(kind), Bit | Table) and (is_array or match["nullable"] or match["tag"]):
            raise ValueError(f"a {kind} stands alone, in no array, untagged and not null: {match['name']}")
        if kind not in TYPES:
            below = self.fields(indent + INDENT, own)
            if below and kind in self.structures:
                raise ValueError(f"declared twice: {kind}")
            if below:
                self.structures[kind] = Structure(kind, below)
            if kind not in self.structures:
                raise ValueError(f"neither a type nor a structure with fields: {kind}")
            structure = self.structures[kind]
        if match["default"] is not None:
            word = match["default"]
            default = _WORDS[word] if word in _WORDS else ast.literal_eval(word)
        elif null_versions == own or (structure is not None and not is_array):
            default = None
        else:
            default = [] if is_array else TYPES[kind].default
        return Field(
            match["name"], kind, is_array, own, null_versions, tag, match["plain"] is not None, default, structure
        )
