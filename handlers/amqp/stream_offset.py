"""Where a consumer of a stream begins: the argument x-stream-offset."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

from portask.errors import PreconditionError
from portask.start import Start

if TYPE_CHECKING:
    from portask.clock import Clock
    from portask.queues.queue import Queue

_UNITS_S = {"Y": 365 * 86400, "M": 30 * 86400, "D": 86400, "h": 3600, "m": 60, "s": 1}
_INTERVAL = re.compile(r"([0-9]{1,9})([YMDhms])")


def stream_start(value: Any, queue: Queue, clock: Clock) -> Start:
    """The start that *value* means. Raises PreconditionError.

    first | last | next | an offset | a timestamp | an interval, such as "7D", counted back from now.
    """
    match value:
        case None | "next":
            return Start.NEXT
        case "first":
            return Start.FIRST
        case "last":
            return Start.LAST
        case bool():
            pass
        case int() if value >= 0:
            return Start("offset", value)
        case datetime():
            return Start("timestamp", round(value.timestamp() * 1000))
        case str() if match := _INTERVAL.fullmatch(value):
            seconds = int(match[1]) * _UNITS_S[match[2]]
            return Start("timestamp", max(0, clock.now_ms() - seconds * 1000))
    raise PreconditionError(
        f"invalid arg 'x-stream-offset' for queue '{queue.name}': first, last, next, an offset, a timestamp or an"
        f" interval such as 7D is expected, not {str(value)[:60]!r}"
    )
