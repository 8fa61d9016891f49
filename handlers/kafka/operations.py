"""What can be done to one config, and to a list that it holds."""

from __future__ import annotations

from enum import IntEnum

from handlers.kafka.config_types import ConfigType
from handlers.kafka.error_codes import ErrorCode
from handlers.kafka.refusal import RefusedError
from handlers.kafka.topic_configs import TOPIC_CONFIGS, default_text
from portask.topic import TopicConfig


class Operation(IntEnum):
    """An operation of IncrementalAlterConfigs."""

    SET = 0
    DELETE = 1
    APPEND = 2
    SUBTRACT = 3

    @classmethod
    def of(cls, number: int) -> Operation:
        """The operation of that number. Raises RefusedError."""
        try:
            return cls(number)
        except ValueError:
            raise RefusedError(ErrorCode.INVALID_REQUEST, f"Unknown operations type {number}") from None


def changed(name: str, operation: Operation, value: str, current: dict[str, str], config: TopicConfig) -> str | None:
    """What config *name* of a topic is to be, which has *current* for itself; None for nothing of its own.

    Raises RefusedError when the operation is not for a config of this type.
    """
    if operation is Operation.SET:
        return value
    if operation is Operation.DELETE:
        return None
    key = TOPIC_CONFIGS.get(name)
    if key is None or key.kind is not ConfigType.LIST:
        raise RefusedError(
            ErrorCode.INVALID_CONFIG, f"Can't {operation.name} to key {name} because its type is not LIST."
        )
    parts = [part for part in current.get(name, default_text(key, config)).split(",") if part]
    operands = value.split(",")
    if operation is Operation.APPEND:
        parts += [part for part in dict.fromkeys(operands) if part not in parts]
    else:
        parts = [part for part in parts if part not in operands]
    return ",".join(parts)
