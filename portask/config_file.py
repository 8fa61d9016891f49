"""The configuration file: TOML, a table for each section, every value checked where it stands.

tomllib doesn't say where a value was found, so the lines are searched again for the key once the
file is known to be valid. An odd spelling (a key inside an inline table, a quoted key) may get the
line of its table instead; the value itself is never in doubt.
"""

from __future__ import annotations

import re
import tomllib
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any, TextIO

import configargparse

from portask.errors import ConfigError
from portask.options import Option

_TABLE = re.compile(r"\s*\[\s*([\w.-]+)\s*\]")
_KEY = re.compile(r"\s*([\w.-]+)\s*=")
_POSITION = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of a sentence that complains about *word*: what was probably meant, or nothing."""
    matches = get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {matches[0]}?" if matches else ""


# configargparse ships no types, so its classes are Any.
class TomlFile(configargparse.ConfigFileParser):  # type: ignore[misc]
    """Reads one configuration file for configargparse, and remembers where each value stands."""

    def __init__(self, options: Sequence[Option]) -> None:
        super().__init__()
        self.places: dict[str, str] = {}
        """Option name -> "file:line"."""
        self._sections: dict[str, dict[str, Option]] = {}
        for option in options:
            self._sections.setdefault(option.section, {})[option.key] = option

    def parse(self, stream: TextIO) -> OrderedDict[str, str]:
        """The file's values as text, keyed by flag. Raises ConfigError with file and line for anything wrong in it."""
        path = stream.name
        try:
            text = stream.read()
            tables = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            position = _POSITION.search(str(error))
            line = int(position[1]) if position and position[1] else max(1, len(text.splitlines()))
            raise ConfigError(f"{path}:{line}: not valid TOML: {_POSITION.sub('', str(error))}") from error
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}:1: cannot be read: {error}") from error
        lines = _find_lines(text)
        values: OrderedDict[str, str] = OrderedDict()
        for section, table in tables.items():
            place = f"{path}:{lines.get((section, ''), 1)}"
            known = self._known(section, table, place)
            for key, value in table.items():
                place = f"{path}:{lines.get((section, key), lines.get((section, ''), 1))}"
                if key not in known:
                    raise ConfigError(f"{place}: unknown key {key} in [{section}]{self._nearest_key(section, key)}")
                option = known[key]
                try:
                    checked = option.check(value)
                except ValueError as error:
                    raise ConfigError(f"{place}: {key} in [{section}] {error}, not {_shown(value, option)}") from error
                self.places[option.name] = place
                values[option.flag.removeprefix("--")] = str(checked)
        return values

    def _known(self, section: str, table: Any, place: str) -> dict[str, Option]:
        if not isinstance(table, dict):
            homes = [name for name, known in self._sections.items() if section in known]
            meant = f"; did you mean {section} in [{homes[0]}]?" if homes else self._nearest_key("", section)
            raise ConfigError(f"{place}: {section} stands outside of a section{meant}")
        if section not in self._sections:
            raise ConfigError(f"{place}: unknown section [{section}]{nearest(section, self._sections)}")
        return self._sections[section]

    def _nearest_key(self, section: str, key: str) -> str:
        """What *key* was probably meant to be: first in its own section, then in all, by key or by full name."""
        own = self._sections.get(section, {})
        for option in own.values():
            if key in {option.name, option.name.replace("_", "-")}:
                return f"; did you mean {option.key}?"
        for home, known in self._sections.items():
            if key in known:
                return f"; did you mean {key} in [{home}]?"
        everywhere = {option.name: option for known in self._sections.values() for option in known.values()}
        if meant := nearest(key, own):
            return meant
        names = get_close_matches(key, [*everywhere], n=1, cutoff=0.5)
        return f"; did you mean {everywhere[names[0]].key} in [{everywhere[names[0]].section}]?" if names else ""


def _find_lines(text: str) -> dict[tuple[str, str], int]:
    """The line of each (section, key) and, with the key "", of each section."""
    found: dict[tuple[str, str], int] = {}
    section = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if table := _TABLE.match(line):
            section = table[1]
            found.setdefault((section, ""), number)
        elif key := _KEY.match(line):
            head, _, rest = f"{section}.{key[1]}".lstrip(".").partition(".")
            found.setdefault((head, rest), number)
            found.setdefault((head, ""), number)
    return found


def _shown(value: object, option: Option) -> str:
    if option.secret:
        return "the value given"
    if isinstance(value, bool | int | float | str):
        return option.in_toml(value) if isinstance(value, str | bool) else str(value)
    return type(value).__name__
