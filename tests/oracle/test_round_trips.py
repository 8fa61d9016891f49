"""Random values through our encoder, another package's decoder and encoder, and our decoder."""

import importlib
import io
from random import Random

import pytest
from kio.serial import entity_reader, entity_writer

from tests.oracle.random_values import random_value
from tests.oracle.rows import API_MESSAGES, MESSAGES, NEWER_THAN_THE_ORACLES, OLDER_THAN_THE_ORACLES, kio_class

VALUES = 4
"""Per message, version and oracle."""


def cases(messages, without=frozenset()):
    return [
        pytest.param(message, version, id=f"{message.name}-{version}")
        for message in messages
        for version in range(message.versions.first, message.versions.last + 1)
        if (message.name, version) not in without
    ]


def kafka_python_class(name):
    for module in ("producer", "consumer", "admin", "metadata", "sasl"):
        found = getattr(importlib.import_module(f"kafka.protocol.{module}"), name, None)
        if found is not None:
            return found
    raise LookupError(name)


def random_values(message, version):
    random = Random(f"{message.name} {version}")
    return [random_value(random, message, version) for _ in range(VALUES)]


def encoded(message, version, value):
    return b"".join(message.encode(version)(value))


def decoded(message, version, data):
    value, position = message.decode(version)(data, 0, len(data))
    assert position == len(data)
    return value


@pytest.mark.parametrize(("message", "version"), cases(MESSAGES))
def test_value_survives_our_own_functions(message, version):
    for value in random_values(message, version):
        assert decoded(message, version, encoded(message, version, value)) == value


@pytest.mark.parametrize(
    ("message", "version"), cases(MESSAGES, without=NEWER_THAN_THE_ORACLES | OLDER_THAN_THE_ORACLES)
)
def test_kio_reads_what_we_write_and_writes_the_same(message, version):
    cls = kio_class(message, version)
    read, write = entity_reader(cls), entity_writer(cls)
    for value in random_values(message, version):
        data = encoded(message, version, value)
        theirs, size = read(data, 0)
        out = io.BytesIO()
        write(out, theirs)

        assert size == len(data)
        assert decoded(message, version, out.getvalue()) == value
        assert out.getvalue() == data


@pytest.mark.parametrize(("message", "version"), cases(API_MESSAGES, without=NEWER_THAN_THE_ORACLES))
def test_kafka_python_reads_what_we_write_and_writes_the_same(message, version):
    cls = kafka_python_class(message.name)
    for value in random_values(message, version):
        if message.name == "ApiVersionsResponse":
            value.error_code = 0  # with any other code kafka-python reads version 0
        data = encoded(message, version, value)
        theirs = cls.decode(data, version=version)
        theirs._header = None  # a decoded message has no such slot set, and encode() looks at it
        back = theirs.encode(version=version)

        assert decoded(message, version, back) == value
        assert back == data
