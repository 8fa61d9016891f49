"""Threads for what blocks: disk work that would hold the loop up for a millisecond or more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from gevent.threadpool import ThreadPool

P = ParamSpec("P")
T = TypeVar("T")


class Workers:
    """A few threads; belongs to the loop of the thread that made it."""

    def __init__(self, count: int) -> None:
        self._pool = ThreadPool(count)

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What *function* returns or raises, run in a thread. Blocks only the greenlet that calls."""
        result, error = self._pool.apply(_outcome, (function, args, kwargs))
        if error is not None:
            raise error
        value: T = result
        return value

    def close(self) -> None:
        """Wait for what runs and end the threads."""
        self._pool.kill()


def _outcome(function: Callable[..., Any], args: Any, kwargs: Any) -> tuple[Any, BaseException | None]:
    # The pool prints the traceback of whatever a function raises, even when it is caught.
    try:
        return function(*args, **kwargs), None
    except BaseException as error:
        return None, error
