"""Topics: making and deleting them, and giving them more partitions.

What a request asks for is done for all its topics at once, so that they share a round.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from handlers.kafka.assignments import check_replicas
from handlers.kafka.config_entries import topic_entries
from handlers.kafka.error_codes import ErrorCode
from handlers.kafka.metadata import NO_ID
from handlers.kafka.parallel import in_parallel
from handlers.kafka.refusal import RefusedError, refusal
from handlers.kafka.tables import CREATE_PARTITIONS, CREATE_TOPICS, DELETE_TOPICS
from handlers.kafka.topic_configs import to_settings
from handlers.kafka.topic_names import check_collision, check_topic_name, unify
from portask.errors import InvalidTopicError, PortaskError, TopicExistsError, UnknownTopicError
from portask.topic import Topic, TopicConfig

if TYPE_CHECKING:
    from handlers.kafka.session import Session

log = logging.getLogger(__name__)

MAX_NEW_PARTITIONS = 10_000
"""Of one request."""
_TOO_MANY = RefusedError(ErrorCode.POLICY_VIOLATION, "Excessively large number of partitions per request.")
_DUPLICATE_NAME = RefusedError(ErrorCode.INVALID_REQUEST, "Duplicate topic name.")

_Created = CREATE_TOPICS.Response.CreatableTopicResult
_CreatedConfig = CREATE_TOPICS.Response.CreatableTopicConfigs
_Deleted = DELETE_TOPICS.Response.DeletableTopicResult
_Grown = CREATE_PARTITIONS.Response.CreatePartitionsTopicResult

_Asked = tuple[str | None, bytes]
"""The name or else the id of a topic."""


def create_topics(session: Session, request: Any, version: int) -> Any:
    """Answer a CreateTopics request. Blocks until the topics are durable, or the request's time is over."""

    def create(asked: Any) -> Any:
        name, settings, count = _check_new(session, asked, unified)
        broker = session.broker
        if request.validate_only:
            count = broker.catalog.check(name, count, settings)
            return _created(session, name, NO_ID, count, TopicConfig(broker.settings, settings))
        topic = broker.create_topic(name, count, settings)
        return _created(session, name, bytes.fromhex(topic.id), len(topic.partitions), topic.config)

    def refuse(asked: Any, error: PortaskError) -> Any:
        if isinstance(error, TopicExistsError):
            error = RefusedError(ErrorCode.TOPIC_ALREADY_EXISTS, f"Topic '{asked.name}' already exists.")
        code, text = refusal(error)
        return _Created(name=asked.name, error_code=code, error_message=text)

    default = session.settings.default_partitions
    total = sum(len(asked.assignments) or _known(asked.num_partitions, default) for asked in request.topics)
    if total > MAX_NEW_PARTITIONS:
        return CREATE_TOPICS.Response(topics=[refuse(asked, _TOO_MANY) for asked in request.topics])
    unique, duplicates = _by_name(request.topics)
    unified = unify(session.broker.topics())
    answers = in_parallel(session, unique, create, refuse, request.timeout_ms)
    return CREATE_TOPICS.Response(topics=answers + [refuse(asked, _DUPLICATE_NAME) for asked in duplicates])


def _known(count: int, default: int) -> int:
    return default if count == -1 else max(count, 0)


def _check_new(session: Session, asked: Any, unified: dict[str, str]) -> tuple[str, dict[str, str], int | None]:
    """Name, settings and number of partitions of a topic that may be made."""
    name: str = asked.name
    check_topic_name(name)
    try:
        session.broker.topic(name)
    except UnknownTopicError:
        check_collision(name, unified)
    else:
        raise TopicExistsError
    nulls = [config.name for config in asked.configs if config.value is None]
    if nulls:
        raise RefusedError(ErrorCode.INVALID_CONFIG, f"Null value not supported for topic configs: {','.join(nulls)}")
    settings = to_settings({config.name: config.value for config in asked.configs})
    return name, settings, _partition_count(session, asked)


def _partition_count(session: Session, asked: Any) -> int | None:
    count, factor = asked.num_partitions, asked.replication_factor
    if asked.assignments:
        _check_assignments(asked, session.node.node_id)
        return len(asked.assignments)
    if factor < -1 or factor == 0:
        raise RefusedError(
            ErrorCode.INVALID_REPLICATION_FACTOR,
            "Replication factor must be larger than 0, or -1 to use the default value.",
        )
    if count < -1 or count == 0:
        raise RefusedError(
            ErrorCode.INVALID_PARTITIONS, "Number of partitions was set to an invalid non-positive value."
        )
    if factor > 1:
        log.warning(
            "replicas were asked for; there is one node, so there is one",
            extra={"topic": asked.name, "replication_factor": factor},
        )
    return None if count == -1 else int(count)


def _check_assignments(asked: Any, node_id: int) -> None:
    for field, words in (("replication_factor", "replication factor"), ("num_partitions", "numPartitions")):
        if getattr(asked, field) != -1:
            raise RefusedError(
                ErrorCode.INVALID_REQUEST,
                f"A manual partition assignment was specified, but {words} was not set to -1.",
            )
    seen: set[int] = set()
    for assignment in asked.assignments:
        index = assignment.partition_index
        if index in seen:
            raise RefusedError(
                ErrorCode.INVALID_REPLICA_ASSIGNMENT,
                f"Found multiple manual partition assignments for partition {index}",
            )
        check_replicas(assignment.broker_ids, node_id)
        seen.add(index)
    if seen != set(range(len(seen))):
        raise RefusedError(
            ErrorCode.INVALID_REPLICA_ASSIGNMENT, "partitions should be a consecutive 0-based integer sequence"
        )


def _created(session: Session, name: str, topic_id: bytes, count: int, config: TopicConfig) -> Any:
    return _Created(
        name=name,
        topic_id=topic_id,
        error_code=ErrorCode.NONE,
        error_message=None,
        num_partitions=count,
        replication_factor=1,
        configs=[
            _CreatedConfig(name=entry.name, value=entry.value, config_source=entry.source)
            for entry in topic_entries(config)
        ],
    )


def delete_topics(session: Session, request: Any, version: int) -> Any:
    """Answer a DeleteTopics request. Blocks until the topics are gone, or the request's time is over."""
    counts: Counter[_Asked] = Counter((name, NO_ID) for name in request.topic_names)
    counts.update((topic.name, topic.topic_id) for topic in request.topics)
    found: dict[Topic, list[_Asked]] = {}
    answers = []
    for asked, count in counts.items():
        try:
            found.setdefault(_find(session, asked, count), []).append(asked)
        except PortaskError as error:
            answers.append(_not_deleted(asked, error))
    wanted = []
    for topic, ways in found.items():
        named = (topic.name, bytes.fromhex(topic.id))
        if len(ways) == 1:
            wanted.append(named)
        else:
            text = "The provided topic name maps to an ID that was already supplied."
            answers.append(_not_deleted(named, RefusedError(ErrorCode.INVALID_REQUEST, text)))

    def delete(named: tuple[str, bytes]) -> Any:
        session.broker.delete_topic(named[0])
        return _Deleted(name=named[0], topic_id=named[1], error_code=ErrorCode.NONE, error_message=None)

    return DELETE_TOPICS.Response(
        responses=answers + in_parallel(session, wanted, delete, _not_deleted, request.timeout_ms)
    )


def _find(session: Session, asked: _Asked, count: int) -> Topic:
    name, topic_id = asked
    catalog = session.broker.catalog
    if name is None and topic_id == NO_ID:
        raise RefusedError(ErrorCode.INVALID_REQUEST, "Neither topic name nor id were specified.")
    if name is not None and topic_id != NO_ID:
        raise RefusedError(ErrorCode.INVALID_REQUEST, "You may not specify both topic name and topic id.")
    if count > 1:
        raise RefusedError(ErrorCode.INVALID_REQUEST, f"Duplicate topic {'id' if name is None else 'name'}.")
    try:
        return catalog.topic_by_id(topic_id.hex()) if name is None else catalog.topic(name)
    except (UnknownTopicError, InvalidTopicError) as error:
        code = ErrorCode.UNKNOWN_TOPIC_ID if name is None else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        raise RefusedError(code) from error


def _not_deleted(asked: _Asked, error: PortaskError) -> Any:
    code, text = refusal(error)
    return _Deleted(name=asked[0], topic_id=asked[1], error_code=code, error_message=text)


def create_partitions(session: Session, request: Any, version: int) -> Any:
    """Answer a CreatePartitions request. Blocks until the partitions are durable, or the request's time is over."""

    def grow(asked: Any) -> Any:
        _check_growth(session, asked)
        if not request.validate_only:
            session.broker.add_partitions(asked.name, asked.count)
        return _Grown(name=asked.name, error_code=ErrorCode.NONE, error_message=None)

    def refuse(asked: Any, error: PortaskError) -> Any:
        code, text = refusal(error)
        return _Grown(name=asked.name, error_code=code, error_message=text)

    sizes = {topic.name: len(topic.partitions) for topic in session.broker.topics()}
    if sum(max(0, asked.count - sizes.get(asked.name, asked.count)) for asked in request.topics) > MAX_NEW_PARTITIONS:
        return CREATE_PARTITIONS.Response(results=[refuse(asked, _TOO_MANY) for asked in request.topics])
    unique, duplicates = _by_name(request.topics)
    answers = in_parallel(session, unique, grow, refuse, request.timeout_ms)
    return CREATE_PARTITIONS.Response(results=answers + [refuse(asked, _DUPLICATE_NAME) for asked in duplicates])


def _check_growth(session: Session, asked: Any) -> None:
    try:
        count = len(session.broker.topic(asked.name).partitions)
    except (UnknownTopicError, InvalidTopicError) as error:
        raise RefusedError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "") from error
    if asked.count == count:
        raise RefusedError(ErrorCode.INVALID_PARTITIONS, f"Topic already has {count} partition(s).")
    if asked.count < count:
        raise RefusedError(
            ErrorCode.INVALID_PARTITIONS,
            f"The topic {asked.name} currently has {count} partition(s); {asked.count} would not be an increase.",
        )
    if asked.assignments is None:
        return
    added = asked.count - count
    if len(asked.assignments) != added:
        raise RefusedError(
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            f"Attempted to add {added} additional partition(s), but only {len(asked.assignments)} assignment(s) "
            "were specified.",
        )
    for assignment in asked.assignments:
        check_replicas(assignment.broker_ids, session.node.node_id)


def _by_name(topics: Iterable[Any]) -> tuple[list[Any], list[Any]]:
    """The *topics* whose name comes once, and one of each name that comes again."""
    counts = Counter(topic.name for topic in topics)
    unique = [topic for topic in topics if counts[topic.name] == 1]
    return unique, list({topic.name: topic for topic in topics if counts[topic.name] > 1}.values())
