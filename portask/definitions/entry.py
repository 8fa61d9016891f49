"""One entry of definitions: its fields by name, each read as what it must be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from portask.errors import PreconditionError

_LABELS = ("name", "user", "source")


class Entry:
    """The fields of a JSON object. Readers raise PreconditionError; null is as good as not there."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = fields
        self._read: set[str] = set()

    @property
    def label(self) -> str:
        """What to call it: its name, or who or what it begins with, and its virtual host."""
        name = next((self._fields[key] for key in _LABELS if isinstance(self._fields.get(key), str)), "")
        to = self._fields.get("destination")
        host = self._fields.get("vhost")
        label = f"'{name}'" + (f" -> '{to}'" if isinstance(to, str) else "")
        return f"{label} in vhost '{host}'" if isinstance(host, str) else label

    def unread(self) -> list[str]:
        """Fields that nobody has asked for."""
        return [name for name in self._fields if name not in self._read]

    def value(self, name: str, default: Any = None) -> Any:
        """Whatever it is; required without a default."""
        self._read.add(name)
        value = self._fields.get(name)
        if value is not None:
            return value
        if default is None:
            raise PreconditionError(f"{name} is missing")
        return default

    def text(self, name: str, default: str | None = None) -> str:
        """A text."""
        value = self.value(name, default)
        if not isinstance(value, str):
            raise PreconditionError(f"{name} must be text, not {value!r:.40}")
        return value

    def truth(self, name: str, default: bool | None = None) -> bool:
        """True or false."""
        value = self.value(name, default)
        if not isinstance(value, bool):
            raise PreconditionError(f"{name} must be true or false, not {value!r:.40}")
        return value

    def table(self, name: str) -> dict[str, Any]:
        """An object; empty when it is not there. RabbitMQ's export has an empty list for an empty one at times."""
        value = self.value(name, {})
        if value == []:
            value = {}
        if not isinstance(value, Mapping):
            raise PreconditionError(f"{name} must be an object, not {value!r:.40}")
        return dict(value)

    def words(self, name: str) -> list[str]:
        """A list of texts, or one text with commas between them, as older versions wrote it."""
        value = self.value(name, [])
        if isinstance(value, str):
            return [word.strip() for word in value.split(",") if word.strip()]
        if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
            raise PreconditionError(f"{name} must be a list of texts, not {value!r:.40}")
        return value

    def limits(self, name: str) -> dict[str, Any]:
        """Names with numbers: an object, or a list of objects that have `name` and `value`."""
        value = self.value(name, {})
        if isinstance(value, list) and all(
            isinstance(pair, Mapping) and {"name", "value"} <= set(pair) for pair in value
        ):
            return {str(pair["name"]): pair["value"] for pair in value}
        return self.table(name)
