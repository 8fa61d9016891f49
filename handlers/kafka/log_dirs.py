"""DescribeLogDirs: how large the partitions are, and how much room the disk has."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from handlers.kafka.error_codes import ErrorCode
from handlers.kafka.tables import DESCRIBE_LOG_DIRS
from portask.errors import InvalidTopicError, UnknownTopicError
from portask.partition import Partition

if TYPE_CHECKING:
    from handlers.kafka.session import Session

UNKNOWN_BYTES = -1

_Dir = DESCRIBE_LOG_DIRS.Response.DescribeLogDirsResult
_Topic = DESCRIBE_LOG_DIRS.Response.DescribeLogDirsTopic
_Partition = DESCRIBE_LOG_DIRS.Response.DescribeLogDirsPartition


def describe_log_dirs(session: Session, request: Any, version: int) -> Any:
    """Answer a DescribeLogDirs request: all that is stored is in one place."""
    place, total, usable = _place(session)
    storage = session.broker.storage

    def describe(partition: Partition) -> Any:
        return _Partition(
            partition_index=partition.number,
            partition_size=storage.bounds(partition.log).size_bytes,
            offset_lag=0,
            is_future_key=False,
        )

    return DESCRIBE_LOG_DIRS.Response(
        results=[
            _Dir(
                error_code=ErrorCode.NONE,
                log_dir=place,
                topics=[
                    _Topic(name=name, partitions=[describe(partition) for partition in partitions])
                    for name, partitions in _partitions(session, request.topics)
                ],
                total_bytes=total,
                usable_bytes=usable,
                is_cordoned=False,
            )
        ]
    )


def _partitions(session: Session, asked: Any) -> Iterable[tuple[str, list[Partition]]]:
    """The partitions asked for by topic; what does not exist is left out, as Kafka does."""
    if asked is None:
        for topic in session.broker.topics():
            yield topic.name, topic.partitions
        return
    wanted: dict[str, set[int]] = {}
    for one in asked:
        wanted.setdefault(one.topic, set()).update(one.partitions)
    for name, indexes in wanted.items():
        try:
            partitions = session.broker.topic(name).partitions
        except (UnknownTopicError, InvalidTopicError):
            continue
        found = [partition for partition in partitions if partition.number in indexes]
        if found:
            yield name, found


def _place(session: Session) -> tuple[str, int, int]:
    """Where everything is stored, the size of that disk and what is free of it."""
    settings = session.settings
    if settings.storage != "local":
        return settings.effective()["storage"], UNKNOWN_BYTES, UNKNOWN_BYTES  # type: ignore[return-value]  # text
    directory = Path(settings.data_dir).absolute()
    try:
        usage = shutil.disk_usage(directory)
    except OSError:
        return str(directory), UNKNOWN_BYTES, UNKNOWN_BYTES
    return str(directory), usage.total, usage.free
