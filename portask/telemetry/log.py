"""Logs: one event, one line, its fields beside it.

    log.info("portask ready", extra={"host": host, "native_port": port})

is written for people as

    2026-01-31T12:00:00.000Z info portask ready host=127.0.0.1 native_port=7672

and for programs as one JSON object with `time`, `level`, `logger`, `message` and the fields. Text that
came from a peer is quoted where it could break the line or be taken for another field.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time

_PLAIN = re.compile(r"[^\s\"'=\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_BREAKS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"asctime", "message", "taskName"}
"""What every record has; the rest are the event's fields."""


class _Handler(logging.StreamHandler):  # type: ignore[type-arg]  # generic for the type checker only
    """The one handler that `configure` installs, told from those of others by its class."""


def configure(level: str, log_format: str) -> None:
    """Log to stderr from *level* on as text, json or, with auto, whichever suits stderr. May be called again."""
    as_text = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())
    handler = _Handler(sys.stderr)
    handler.setFormatter(_TextFormatter() if as_text else _json_formatter())
    root = logging.getLogger()
    for old in [handler for handler in root.handlers if isinstance(handler, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())


def _stamp(record: logging.LogRecord) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"


class _TextFormatter(logging.Formatter):
    """One readable line; a traceback follows on lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        fields = [f" {name}={_text(value)}" for name, value in vars(record).items() if name not in _STANDARD]
        event = _BREAKS.sub(" ", record.getMessage())
        line = f"{_stamp(record)} {record.levelname.lower()} {event}{''.join(fields)}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _text(value: object) -> str:
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)


def _json_formatter() -> logging.Formatter:
    # Here, because a server that logs text does without it, and so starts sooner.
    from pythonjsonlogger.json import JsonFormatter

    class _JsonFormatter(JsonFormatter):
        def add_fields(
            self, log_data: dict[str, object], record: logging.LogRecord, message_dict: dict[str, object]
        ) -> None:
            log_data["time"] = _stamp(record)
            log_data["level"] = record.levelname.lower()
            log_data["logger"] = record.name
            super().add_fields(log_data, record, message_dict)

    return _JsonFormatter()
