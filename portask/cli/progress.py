"""A progress bar with rate and time left, on stderr and only when that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Advance = Callable[..., None]
"""Takes how much is done and, where it is not known at the beginning, how much it is in all."""


@contextmanager
def progress(text: str, total: int | None, *, is_bytes: bool = False) -> Iterator[Advance]:
    """A function to be told how far things are, as often as one likes."""
    if not sys.stderr.isatty():
        yield lambda done, total=None: None
        return
    # rich takes 60 ms to import; scripts never pay for it.
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.text import Text

    class RateColumn(ProgressColumn):
        """Messages a second."""

        def render(self, task: Task) -> Text:
            return Text(f"{task.speed or 0:,.0f}/s")

    count = DownloadColumn() if is_bytes else MofNCompleteColumn()
    rate = TransferSpeedColumn() if is_bytes else RateColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), count, rate, TimeRemainingColumn())
    with Progress(*columns, console=Console(file=sys.stderr), transient=False) as bar:
        task = bar.add_task(text, total=total)
        yield lambda done, total=None: bar.update(task, completed=done, total=total)
