"""Names of topics, as Kafka refuses them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from handlers.kafka.error_codes import ErrorCode
from handlers.kafka.refusal import RefusedError
from portask.topic import MAX_NAME, Topic

_LEGAL = re.compile(r"[a-zA-Z0-9._-]+")


def check_topic_name(name: str) -> None:
    """Raise RefusedError unless *name* can be a topic's."""
    if not name:
        reason = "the empty string is not allowed"
    elif name in {".", ".."}:
        reason = f"'{name}' is not allowed"
    elif len(name) > MAX_NAME:
        reason = f"the length of '{name}' is longer than the max allowed length {MAX_NAME}"
    elif not _LEGAL.fullmatch(name):
        reason = f"'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
    else:
        return
    raise RefusedError(ErrorCode.INVALID_TOPIC_EXCEPTION, f"Topic name is invalid: {reason}")


def unify(topics: Iterable[Topic]) -> dict[str, str]:
    """Names of *topics* by what they are when dots count as underscores."""
    return {topic.name.replace(".", "_"): topic.name for topic in topics}


def check_collision(name: str, unified: Mapping[str, str]) -> None:
    """Raise RefusedError when a topic differs from *name* only in what is a dot or an underscore."""
    # Kafka's rule: the names of its metrics know no difference between the two.
    taken = unified.get(name.replace(".", "_"))
    if taken is not None:
        raise RefusedError(ErrorCode.INVALID_TOPIC_EXCEPTION, f"Topic '{name}' collides with existing topic: {taken}")
