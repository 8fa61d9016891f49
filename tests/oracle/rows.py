"""Tables as rows that can be compared: one per field of a version, from our tables and from other packages'."""

import dataclasses
import datetime as dt
import json
import re
import typing
from importlib import resources
from typing import NamedTuple

from kio.index import load_entity_schema
from kio.serial._introspect import classify_field, get_field_tag, is_optional
from kio.static.constants import EntityType
from kio.static.constants import uuid_zero as zero_uuid

from handlers.kafka.tables import (
    APIS,
    CONSUMER_PROTOCOL_ASSIGNMENT,
    CONSUMER_PROTOCOL_SUBSCRIPTION,
    REQUEST_HEADER,
    RESPONSE_HEADER,
)
from handlers.wire.types import TYPES

API_MESSAGES = [message for api in APIS.values() for message in (api.request, api.response)]
OTHER_MESSAGES = [REQUEST_HEADER, RESPONSE_HEADER, CONSUMER_PROTOCOL_SUBSCRIPTION, CONSUMER_PROTOCOL_ASSIGNMENT]
MESSAGES = API_MESSAGES + OTHER_MESSAGES

NEWER_THAN_THE_ORACLES = {
    # Kafka 4.4 has them (KIP-1242, KIP-1331); kio and kafka-python stop at what Kafka 4.2 had.
    ("ApiVersionsRequest", 5),
    ("ApiVersionsResponse", 5),
    ("DeleteGroupsRequest", 3),
    ("DeleteGroupsResponse", 3),
}
OLDER_THAN_THE_ORACLES = {
    # Only ControlledShutdown had it, which is gone since Kafka 4.0.
    ("RequestHeader", 0),
}


class Row(NamedTuple):
    """One field of one version."""

    path: str
    type: str
    is_array: bool
    is_nullable: bool
    default: object
    tag: int | None
    is_compact: bool | None
    """Whether its length is compact; None for types without one."""


def snake_case(name):
    """`IsrNodes` as `isr_nodes`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def compactness(kind, is_array, is_flexible, is_plain=False):
    """The last column of a row."""
    has_length = is_array or kind in ("string", "bytes", "records")
    return is_flexible and not is_plain if has_length else None


def our_rows(message, version):
    """Every field of *version*, depth first in the order of the table."""
    return list(_our_rows(message.structure, version, message.is_flexible(version), ""))


def _our_rows(structure, version, is_flexible, path):
    for field in structure.fields:
        if field.versions.covers(version):
            yield Row(
                path + field.name,
                field.type,
                field.is_array,
                field.is_nullable(version),
                field.default,
                field.tag,
                compactness(field.type, field.is_array, is_flexible, field.is_plain),
            )
            if field.structure is not None:
                yield from _our_rows(field.structure, version, is_flexible, f"{path}{field.name}.")


# -- kafka-python: the message definitions of Apache Kafka, as JSON with comments ------------------


def load_definition(name):
    """The definition of the message *name*."""
    text = (resources.files("kafka.protocol.schemas.resources") / f"{name}.json").read_text()
    return json.loads(re.sub(r"(?m)(^|\s)//.*$", "", text))


def version_range(text):
    """First and last version that *text* names."""
    if text in (None, "none"):
        return (0, -1)
    if text.endswith("+"):
        return (int(text[:-1]), 1 << 15)
    first, _, last = text.partition("-")
    return (int(first), int(last or first))


def covers(text, version):
    """Whether the range *text* has *version*."""
    first, last = version_range(text)
    return first <= version <= last


def definition_rows(definition, version):
    """Every field of *version* in a definition."""
    common = {struct["name"]: struct["fields"] for struct in definition.get("commonStructs", [])}
    is_flexible = covers(definition["flexibleVersions"], version)
    return list(_definition_rows(definition["fields"], version, is_flexible, "", common))


def _definition_rows(fields, version, is_flexible, path, common):
    for field in fields:
        if not covers(field["versions"], version):
            continue
        kind = field["type"].removeprefix("[]")
        is_array = kind != field["type"]
        name = path + snake_case(field["name"])
        yield Row(
            name,
            kind,
            is_array,
            covers(field.get("nullableVersions"), version),
            _definition_default(field, kind, is_array),
            field["tag"] if covers(field.get("taggedVersions"), version) else None,
            compactness(kind, is_array, is_flexible, field.get("flexibleVersions") == "none"),
        )
        yield from _definition_rows(
            field.get("fields") or common.get(kind, []), version, is_flexible, f"{name}.", common
        )


def _definition_default(field, kind, is_array):
    text = str(field["default"]) if "default" in field else None
    if text == "null":
        return None
    if is_array:
        return []
    if kind not in TYPES:
        return None
    if not text:
        return TYPES[kind].default
    if kind == "bool":
        return text.lower() == "true"
    return text if kind == "string" else int(text, 0)


# -- kio: a dataclass per structure and version -----------------------------------------------------

_KIO_TYPES = {"timedelta_i32": "int32", "timedelta_i64": "int64", "datetime_i64": "int64", "error_code": "int16"}


def kio_class(message, version):
    """kio's class for *version* of *message*."""
    for suffix, kind in (("Request", EntityType.request), ("Response", EntityType.response)):
        if message.name.endswith(suffix):
            return load_entity_schema(snake_case(message.name.removesuffix(suffix)), version, kind)
    kind = EntityType.header if message.name.endswith("Header") else EntityType.data
    return load_entity_schema(snake_case(message.name), version, kind)


def kio_rows(cls, path=""):
    """Every field of one of kio's classes."""
    for field in dataclasses.fields(cls):
        shape = classify_field(field)
        if dataclasses.is_dataclass(shape.type_):
            kind, name = shape.type_.__name__, field.name
        else:
            kind, name = field.metadata["kafka_type"], field.name
        is_time = kind.startswith(("timedelta", "datetime"))
        # -1 is what an absent time is sent as; null takes no room of its own on the wire.
        is_nullable = is_optional(field) and kind not in {"datetime_i64", "uuid"}
        kind = _KIO_TYPES.get(kind, kind)
        is_plain = cls.__name__ == "RequestHeader"
        yield Row(
            path + name + ("_ms" if is_time else ""),
            kind,
            shape.is_array,
            is_nullable,
            _kio_default(field, kind, shape.is_array),
            get_field_tag(field),
            compactness(kind, shape.is_array, cls.__flexible__, is_plain),
        )
        if dataclasses.is_dataclass(shape.type_):
            yield from kio_rows(shape.type_, f"{path}{name}.")


def _kio_default(field, kind, is_array):
    value = field.default
    if value is dataclasses.MISSING:
        return [] if is_array else TYPES[kind].default if kind in TYPES else None
    if isinstance(value, dt.timedelta):
        return round(value / dt.timedelta(milliseconds=1))
    if value is None and typing.get_origin(field.type) is not tuple and kind == "int64":
        return -1
    if kind == "uuid":
        return zero_uuid.bytes if value is None else value.bytes
    if dataclasses.is_dataclass(value):
        return None
    return list(value) if is_array and value is not None else value
