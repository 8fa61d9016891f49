"""Configs of topics, of the broker and of its loggers: describing and altering them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from handlers.kafka import broker_loggers
from handlers.kafka.broker_configs import broker_entries
from handlers.kafka.config_entries import ConfigEntry, ConfigSource, topic_entries
from handlers.kafka.error_codes import ErrorCode
from handlers.kafka.operations import Operation, changed
from handlers.kafka.parallel import in_parallel
from handlers.kafka.refusal import RefusedError, refusal
from handlers.kafka.tables import ALTER_CONFIGS, DESCRIBE_CONFIGS, INCREMENTAL_ALTER_CONFIGS, LIST_CONFIG_RESOURCES
from handlers.kafka.topic_config_key import InvalidConfigError
from handlers.kafka.topic_configs import TOPIC_CONFIGS, explicit, to_settings
from handlers.kafka.topic_names import check_topic_name
from portask.errors import PortaskError, UnknownTopicError
from portask.topic import Topic, TopicConfig

if TYPE_CHECKING:
    from handlers.kafka.session import Session


class ResourceType(IntEnum):
    """What can have configs."""

    TOPIC = 2
    BROKER = 4
    BROKER_LOGGER = 8
    CLIENT_METRICS = 16
    GROUP = 32


_Described = DESCRIBE_CONFIGS.Response.DescribeConfigsResult
_Entry = DESCRIBE_CONFIGS.Response.DescribeConfigsResourceResult
_Synonym = DESCRIBE_CONFIGS.Response.DescribeConfigsSynonym
_Resource = LIST_CONFIG_RESOURCES.Response.ConfigResource


def _invalid(text: str) -> RefusedError:
    return RefusedError(ErrorCode.INVALID_REQUEST, text)


# -- describing -----------------------------------------------------------------------------------


def describe_configs(session: Session, request: Any, version: int) -> Any:
    """Answer a DescribeConfigs request."""
    # Each once, however often it is named: a small request must not become an answer without bounds.
    unique = {(asked.resource_type, asked.resource_name): asked for asked in request.resources}
    return DESCRIBE_CONFIGS.Response(results=[_describe(session, request, asked) for asked in unique.values()])


def _describe(session: Session, request: Any, asked: Any) -> Any:
    result = _Described(
        error_code=ErrorCode.NONE,
        resource_type=asked.resource_type,
        resource_name=asked.resource_name,
        configs=[],
    )
    try:
        entries = list(_entries(session, asked.resource_type, asked.resource_name))
    except PortaskError as error:
        result.error_code, result.error_message = refusal(error)
        if result.error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:
            result.error_message = ""
        return result
    wanted = frozenset(asked.configuration_keys or ())
    result.configs = [_entry(entry, request) for entry in entries if not wanted or entry.name in wanted]
    return result


def _entries(session: Session, kind: int, name: str) -> Iterable[ConfigEntry]:
    match kind:
        case ResourceType.TOPIC:
            return topic_entries(_topic(session, name).config)
        case ResourceType.BROKER:
            return broker_entries(session) if _is_this_node(session, name, OF_BROKER) else ()
        case ResourceType.BROKER_LOGGER:
            if not _is_this_node(session, name, OF_LOGGERS):
                raise _invalid("Broker id must not be empty")
            return [
                ConfigEntry(logger, level, None, False, None, [], ConfigSource.DYNAMIC_BROKER_LOGGER_CONFIG)
                for logger, level in broker_loggers.levels().items()
            ]
        case ResourceType.CLIENT_METRICS | ResourceType.GROUP:
            # None of them has configs here, and Kafka asks only that there be a name.
            if not name:
                what = "Group" if kind == ResourceType.GROUP else "Client metrics subscription"
                raise _invalid(f"{what} name must not be empty")
            return ()
    raise RefusedError(ErrorCode.INVALID_REQUEST)


def _entry(entry: ConfigEntry, request: Any) -> Any:
    synonyms = [
        _Synonym(name=synonym.name, value=synonym.value, source=synonym.source)
        for synonym in (entry.synonyms if request.include_synonyms else ())
    ]
    return _Entry(
        name=entry.name,
        value=entry.value,
        read_only=entry.is_read_only,
        config_source=entry.source,
        is_sensitive=False,
        synonyms=synonyms,
        config_type=entry.kind or 0,
        documentation=entry.text if request.include_documentation else None,
    )


def _topic(session: Session, name: str) -> Topic:
    check_topic_name(name)
    try:
        return session.broker.topic(name)
    except UnknownTopicError as error:
        raise RefusedError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"The topic '{name}' does not exist.") from error


class _Words(NamedTuple):
    """How Kafka calls a broker whose id is no number, or not this broker's."""

    noun: str
    unexpected: str


OF_BROKER = _Words("Broker", "Unexpected broker id, expected {} or empty string, but received {}")
OF_LOGGERS = _Words("Broker", "Unexpected broker id, expected {} but received {}")
TO_ALTER_BROKER = _Words("Node", "Unexpected broker id, expected {}, but received {}")
TO_ALTER_LOGGERS = _Words("Node", "Unexpected node id. Expected {}, but received {}")


def _is_this_node(session: Session, name: str, words: _Words) -> bool:
    """Whether *name* is this broker's id; False for the empty name. Raises RefusedError for another."""
    if not name:
        return False
    node_id = session.node.node_id
    if not re.fullmatch(r"[+-]?[0-9]{1,10}", name):
        raise _invalid(f"{words.noun} id must be an integer, but it is: {name}")
    if int(name) != node_id:
        raise _invalid(words.unexpected.format(node_id, name))
    return True


def list_config_resources(session: Session, request: Any, version: int) -> Any:
    """Answer a ListConfigResources request; before version 1 it asked for client metrics only."""
    served = {ResourceType.CLIENT_METRICS} if version == 0 else set(ResourceType)
    if not served.issuperset(request.resource_types):
        return LIST_CONFIG_RESOURCES.Response(error_code=ErrorCode.UNSUPPORTED_VERSION)
    wanted = set(request.resource_types) or served
    node = str(session.node.node_id)
    found = [(topic.name, ResourceType.TOPIC) for topic in session.broker.topics()]
    found += [(node, ResourceType.BROKER), (node, ResourceType.BROKER_LOGGER)]
    return LIST_CONFIG_RESOURCES.Response(
        config_resources=[_Resource(resource_name=name, resource_type=kind) for name, kind in found if kind in wanted]
    )


# -- altering -------------------------------------------------------------------------------------


def alter_configs(session: Session, request: Any, version: int) -> Any:
    """Answer an AlterConfigs request: what it does not name goes back to the default. Blocks."""

    def alter(asked: Any) -> None:
        given = {config.name: config.value for config in asked.configs}
        _check_values(asked, given)

        def changes(config: TopicConfig) -> dict[str, str | None]:
            return {**dict.fromkeys(explicit(config)), **given}

        match asked.resource_type:
            case ResourceType.TOPIC:
                _change_topic(session, asked.resource_name, changes, request.validate_only)
            case ResourceType.BROKER_LOGGER:
                raise _invalid(f"Unknown resource type {asked.resource_type}")
            case _:
                _refuse_others(session, asked)

    return ALTER_CONFIGS.Response(responses=_alter(session, request, alter, ALTER_CONFIGS))


def incremental_alter_configs(session: Session, request: Any, version: int) -> Any:
    """Answer an IncrementalAlterConfigs request. Blocks."""

    def alter(asked: Any) -> None:
        operations = {config.name: Operation.of(config.config_operation) for config in asked.configs}
        given = {config.name: config.value for config in asked.configs}
        _check_values(asked, {name: given[name] for name in given if operations[name] is not Operation.DELETE})

        def changes(config: TopicConfig) -> dict[str, str | None]:
            own = explicit(config)
            return {name: changed(name, operations[name], value, own, config) for name, value in given.items()}

        match asked.resource_type:
            case ResourceType.TOPIC:
                _change_topic(session, asked.resource_name, changes, request.validate_only)
            case ResourceType.BROKER_LOGGER:
                if not _is_this_node(session, asked.resource_name, TO_ALTER_LOGGERS):
                    raise _invalid("Node id must be an integer, but it is: ")
                for act in (broker_loggers.check, *(() if request.validate_only else (broker_loggers.apply,))):
                    for name, value in given.items():
                        act(name, operations[name], value)
            case _:
                _refuse_others(session, asked)

    return INCREMENTAL_ALTER_CONFIGS.Response(responses=_alter(session, request, alter, INCREMENTAL_ALTER_CONFIGS))


def _alter(session: Session, request: Any, alter: Callable[[Any], None], api: Any) -> list[Any]:
    counts = Counter((asked.resource_type, asked.resource_name) for asked in request.resources)

    def answer(asked: Any, code: ErrorCode = ErrorCode.NONE, text: str | None = None) -> Any:
        return api.Response.AlterConfigsResourceResponse(
            error_code=code, error_message=text, resource_type=asked.resource_type, resource_name=asked.resource_name
        )

    def work(asked: Any) -> Any:
        if counts[asked.resource_type, asked.resource_name] > 1:
            raise _invalid("Each resource must appear at most once.")
        alter(asked)
        return answer(asked)

    return in_parallel(session, request.resources, work, lambda asked, error: answer(asked, *refusal(error)))


def _check_values(asked: Any, given: dict[str, str | None]) -> None:
    names = [config.name for config in asked.configs]
    if len(set(names)) != len(names):
        raise _invalid("Error due to duplicate config keys")
    nulls = [name for name, value in given.items() if value is None]
    if nulls:
        raise _invalid(f"Null value not supported for : {', '.join(nulls)}")


def _change_topic(
    session: Session, name: str, changes_of: Callable[[TopicConfig], dict[str, str | None]], validate_only: bool
) -> None:
    """Make the changes that *changes_of* makes of a topic's configs; None takes one back to the default. Blocks."""
    if not name:
        raise _invalid("Default topic resources are not allowed.")
    check_topic_name(name)
    try:
        config = _topic(session, name).config
    except RefusedError:
        # As in Kafka, a config that cannot be is refused before a topic that is not there.
        config = TopicConfig(session.settings, {})
    changes = changes_of(config)
    settings = to_settings({key: text for key, text in {**explicit(config), **changes}.items() if text is not None})
    topic = _topic(session, name)
    altered = {
        TOPIC_CONFIGS[key].setting: settings.get(TOPIC_CONFIGS[key].setting) for key in changes if key in TOPIC_CONFIGS
    }
    if altered and not validate_only:
        session.broker.alter_topic(topic.name, altered)


def _refuse_others(session: Session, asked: Any) -> None:
    """Raise RefusedError when something is to be changed that cannot be."""
    names = [config.name for config in asked.configs]
    match asked.resource_type:
        case ResourceType.BROKER:
            _is_this_node(session, asked.resource_name, TO_ALTER_BROKER)
            if names:
                raise _invalid(f"Cannot update these configs dynamically: Set({', '.join(names)})")
        case ResourceType.GROUP:
            if names:
                raise InvalidConfigError(f"Unknown group config name: {names[0]}")
        case ResourceType.CLIENT_METRICS:
            if names:
                raise _invalid(f"Unknown client metrics configuration: {names[0]}")
        case _:
            raise _invalid(f"Unknown resource type {asked.resource_type}")
