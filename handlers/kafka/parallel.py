"""Work on many things of one request at once, so that what they write shares a round.

A request that runs out of its time is answered while the work goes on, as Kafka does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import gevent

from handlers.kafka.error_codes import ErrorCode
from handlers.kafka.refusal import RefusedError
from portask.errors import PortaskError

if TYPE_CHECKING:
    from handlers.kafka.session import Session

AT_ONCE = 256
"""Greenlets of one request."""

Item = TypeVar("Item")


def in_parallel(
    session: Session,
    items: Sequence[Item],
    work: Callable[[Item], Any],
    refuse: Callable[[Item, PortaskError], Any],
    timeout_ms: int = 0,
) -> list[Any]:
    """What *work*, or for an error *refuse*, says of each item. Blocks; a positive *timeout_ms* is a limit."""

    def answer(item: Item) -> Any:
        try:
            return work(item)
        except PortaskError as error:
            return refuse(item, error)

    clock = session.broker.clock
    end = clock.monotonic() + timeout_ms / 1000 if timeout_ms > 0 else None
    answers = []
    for start in range(0, len(items), AT_ONCE):
        group = items[start : start + AT_ONCE]
        left = None if end is None else max(0.0, end - clock.monotonic())
        greenlets = [gevent.spawn(answer, item) for item in group]
        gevent.joinall(greenlets, left)
        answers += [
            greenlet.get() if greenlet.ready() else refuse(item, RefusedError(ErrorCode.REQUEST_TIMED_OUT))
            for item, greenlet in zip(group, greenlets, strict=True)
        ]
    return answers
