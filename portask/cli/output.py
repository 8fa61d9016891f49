"""Output: the same rows as a table for people, as JSON, or as JSON lines.

Rows go to stdout and nothing else does. Colours only when stdout is a terminal and NO_COLOR is not
set. A table needs rich, which takes 60 ms to import, so it is loaded when the first table is drawn.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

Format = Literal["table", "json", "jsonl"]
Row = Mapping[str, Any]

_WIDEST = 200
"""Columns of a table that goes to a file or a pipe, where no terminal says how wide it may be."""


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add --output."""
    parser.add_argument("--output", choices=("table", "json", "jsonl"), default="table", help="how to print (table)")


def print_rows(rows: Iterable[Row], columns: Sequence[str], form: Format) -> None:
    """Print *rows*; a table shows *columns* only, JSON everything."""
    if form == "jsonl":
        for row in rows:
            print(to_json(row))
    elif form == "json":
        print(json.dumps(list(rows), ensure_ascii=False, indent=2))
    else:
        _print_table(list(rows), columns)


def print_object(value: Row, form: Format) -> None:
    """Print one thing: as a table of two columns, its nested values flattened to dotted names."""
    if form == "jsonl":
        print(to_json(value))
    elif form == "json":
        print(json.dumps(value, ensure_ascii=False, indent=2))
    else:
        flat = _flatten(value, "")
        width = max((len(name) for name in flat), default=0)
        for name, entry in flat.items():
            print(f"{name:<{width}}  {_cell(entry)}")


def to_json(value: object) -> str:
    """*value* as one line of JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _print_table(rows: list[Row], columns: Sequence[str]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    terminal = sys.stdout.isatty()
    console = Console(
        file=sys.stdout,
        color_system="auto" if terminal and not os.environ.get("NO_COLOR") else None,
        width=None if terminal else _WIDEST,
        highlight=False,
        markup=False,
        emoji=False,
    )
    table = Table(box=box.SIMPLE_HEAD if terminal else None, header_style="bold", pad_edge=False)
    for column in columns:
        numbers = any(isinstance(row.get(column), int | float) for row in rows)
        table.add_column(column.replace("_", " ").upper(), justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    console.print(table)


def _flatten(value: Row, prefix: str) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, entry in value.items():
        if isinstance(entry, Mapping):
            flat |= _flatten(entry, f"{prefix}{name}.")
        else:
            flat[prefix + name] = entry
    return flat


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    if isinstance(value, list | tuple):
        return ", ".join(map(_cell, value)) or "-"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={_cell(entry)}" for name, entry in value.items()) or "-"
    return str(value)
