"""An option: one setting, declared once.

From the declaration follow its flag, its environment variable, its place in the configuration file,
what values it takes, and what the annotated file and the documentation say about it. The core's own
are in portask.core_options; a handler lists its own in its class attribute `options`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["int", "float", "str", "bool", "choice", "size", "duration"]
Value = int | float | str | bool

VARIABLE_PREFIX = "PORTASK_"

_SIZE = re.compile(r"(-?\d[\d_]*)\s*([kKMGT]i?B|B)?")
_FACTORS = {"": 1, "B": 1} | {
    f"{letter}{middle}B": base**power
    for power, letters in enumerate(("kK", "M", "G", "T"), start=1)
    for letter in letters
    for middle, base in (("", 1000), ("i", 1024))
}
_TRUTHS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


@dataclass(frozen=True, slots=True)
class Option:
    """One setting. Its *name* is unique in the whole program and says the unit where that isn't obvious."""

    name: str
    kind: Kind
    default: Value
    section: str
    text: str
    """What it does, as a sentence or two."""
    unit: str = ""
    minimum: int | float | None = None
    maximum: int | float | None = None
    choices: tuple[str, ...] = ()
    reloadable: bool = False
    """Whether a running server takes a new value; its owner reads the setting anew or subscribes to it."""
    secret: bool = False
    pattern: str = ""
    """For kind "str": a regular expression that the whole value must match."""
    form: str = ""
    """*pattern* in words."""

    @property
    def flag(self) -> str:
        """The command line's word for it."""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """The environment's word for it."""
        return VARIABLE_PREFIX + self.name.upper()

    @property
    def key(self) -> str:
        """Its key inside its table of the configuration file: the name, without the section if it begins with that."""
        return self.name.removeprefix(self.section + "_")

    def parse(self, text: str) -> Value:
        """The value that *text*, from a flag or a variable, stands for. Raises ValueError that says what is allowed."""
        try:
            value = _PARSERS[self.kind](text.strip())
        except (ValueError, KeyError):
            raise ValueError(f"must be {self.allowed()}") from None
        return self._within(value)

    def check(self, value: object) -> Value:
        """*value*, from a TOML file, if its type and range are right. Raises ValueError that says what is allowed."""
        if type(value) not in _TOML_TYPES[self.kind]:
            raise ValueError(f"must be {self.allowed()}")
        if isinstance(value, str):
            return self.parse(value)
        assert isinstance(value, bool | int | float)
        return self._within(float(value) if self.kind == "float" else value)

    def _within(self, value: Value) -> Value:
        outside = False
        if isinstance(value, str):
            outside = bool(self.choices and value not in self.choices)
            outside = outside or bool(self.pattern and not re.fullmatch(self.pattern, value))
        elif self.kind != "bool":
            outside = not (self.minimum is None or value >= self.minimum)
            outside = outside or not (self.maximum is None or value <= self.maximum)
        if outside:
            raise ValueError(f"must be {self.allowed()}")
        return value

    def allowed(self) -> str:
        """What values it takes, as words that follow "must be"."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        kind = self.form or _KIND_WORDS[self.kind]
        unit = f" ({self.unit})" if self.unit and self.kind != "size" else ""
        return f"{kind}{unit}{self._range()}"

    def _range(self) -> str:
        if self.minimum is not None and self.maximum is not None:
            return f" from {self._plain(self.minimum)} to {self._plain(self.maximum)}"
        if self.minimum is not None:
            return f" of at least {self._plain(self.minimum)}"
        return "" if self.maximum is None else f" of at most {self._plain(self.maximum)}"

    def _plain(self, value: int | float) -> str:
        return (_format_size(int(value)) if self.kind == "size" else "") or str(value)

    def in_toml(self, value: Value) -> str:
        """*value* as it is written in the configuration file."""
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, str):
            return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        if self.kind == "size" and (size := _format_size(int(value))):
            return f'"{size}"'
        return f"{value:_}" if abs(value) >= 10_000 else str(value)


def _format_size(value: int) -> str:
    for unit in ("GiB", "GB", "MiB", "MB", "KiB", "kB"):
        if value > 0 and value % _FACTORS[unit] == 0:
            return f"{value // _FACTORS[unit]}{unit}"
    return ""


def _parse_size(text: str) -> int:
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(text)
    factor: int = _FACTORS[match[2] or ""]
    return int(match[1]) * factor


_PARSERS: dict[Kind, Callable[[str], Value]] = {
    "int": int,
    "float": float,
    "str": str,
    "bool": lambda text: _TRUTHS[text.lower()],
    "choice": str,
    "size": _parse_size,
    "duration": int,
}
_TOML_TYPES: dict[Kind, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "str": (str,),
    "bool": (bool,),
    "choice": (str,),
    "size": (int, str),
    "duration": (int,),
}
_KIND_WORDS: dict[Kind, str] = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "choice": "text",
    "size": 'a size such as 65536, "64KiB" or "1MB"',
    "duration": "a whole number",
}
