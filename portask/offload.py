"""Work for the thread pool: what takes over about a millisecond and would hold up everyone on the loop.

The pool of gevent's hub prints the traceback of whatever a function raises, even when the caller catches it; what
peers send must not fill the log, so an error comes back as a value and is raised here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, TypeVarTuple, Unpack

import gevent

A = TypeVarTuple("A")
T = TypeVar("T")


def offload(function: Callable[[Unpack[A]], T], *args: *A) -> T:
    """What *function* returns, called in a thread. Blocks; raises what it raises."""
    return begin_offload(function, *args)()


def begin_offload(function: Callable[[Unpack[A]], T], *args: *A) -> Callable[[], T]:
    """Call *function* in a thread; the function that waits for it, blocks, and returns or raises what it did."""
    result = gevent.get_hub().threadpool.spawn(_outcome, function, args)

    def wait() -> T:
        value, error = result.get()
        if error is not None:
            raise error
        return value  # type: ignore[no-any-return]  # what the function returned

    return wait


def _outcome(function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, Exception | None]:
    try:
        return function(*args), None
    except Exception as error:  # the caller gets it
        return None, error
