"""Threads for what blocks: disk work that would hold the loop up for a millisecond or more."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import gevent
from gevent.event import Event
from gevent.lock import Semaphore
from gevent.monkey import get_original
from gevent.threadpool import ThreadPool

from portask.errors import StorageError

P = ParamSpec("P")
T = TypeVar("T")

_Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]
"""A function and its arguments."""

_allocate_lock, _start_new_thread = get_original("_thread", ["allocate_lock", "start_new_thread"])


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


class Worker:
    """One thread that gets work and gives it back with as little ado as can be: for syncs.

    Each lock that changes hands between two threads may cost a switch of the interpreter and a wake-up.
    A pool has several for a call, this has two: syncing a round of one message took 190 us of CPU
    instead of 250.
    """

    def __init__(self) -> None:
        self._turn = Semaphore()
        self._is_closed = False
        self._work = _allocate_lock()
        self._work.acquire()
        self._call: _Call | None = None
        self._result: tuple[Any, BaseException | None] = (None, None)
        self._finished = Event()
        self._signal = gevent.get_hub().loop.async_()
        self._signal.start(self._finished.set)
        _start_new_thread(_traced, (self._serve,))

    @property
    def is_busy(self) -> bool:
        """Whether a call has not come back to its caller yet."""
        return bool(self._turn.locked())

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What *function* returns or raises, run in the thread. Blocks only the greenlet that calls.

        That greenlet must not be killed meanwhile: the next call would take the result for its own. Raises
        StorageError after `close`.
        """
        with self._turn:
            # A caller that waited for its turn may get it after the thread has ended.
            if self._is_closed:
                raise StorageError("the storage is not open")
            self._hand_over((function, args, kwargs))
            result, error = self._result
        if error is not None:
            raise error
        value: T = result
        return value

    def close(self) -> None:
        """Wait for what runs and end the thread."""
        with self._turn:
            self._is_closed = True
            self._hand_over(None)
        self._signal.stop()
        self._signal.close()

    def _hand_over(self, call: _Call | None) -> None:
        self._finished.clear()
        self._call = call
        self._work.release()
        self._finished.wait()

    def _serve(self) -> None:
        acquire, signal = self._work.acquire, self._signal.send
        while acquire() and self._call is not None:
            self._result = _outcome(*self._call)
            signal()
        signal()


def _traced(function: Callable[[], None]) -> None:  # pragma: no cover - nothing is traced before it ran
    # As the threads of a pool do it, for debuggers and coverage.
    sys.settrace(threading.gettrace())
    function()


def _outcome(function: Callable[..., Any], args: Any, kwargs: Any) -> tuple[Any, BaseException | None]:
    # The pool prints the traceback of whatever a function raises, even when it is caught.
    try:
        return function(*args, **kwargs), None
    except BaseException as error:
        return None, error
