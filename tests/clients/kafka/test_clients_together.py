"""Clients of every language on one topic: each reads what all of them wrote."""

import os

import pytest

from tests.clients import toolchain
from tests.clients.kafka.java_client import JavaClient
from tests.clients.kafka.tools import Tools
from tests.clients.program import Program, column

EACH = 20
WRITERS = 6
ALL = EACH * WRITERS


@pytest.fixture(scope="module")
def java(java_directory, bootstrap):
    client = JavaClient(toolchain.java_command(java_directory, "Client", bootstrap))
    yield client
    client.close()


@pytest.fixture(scope="module")
def tools(java_directory, bootstrap):
    return Tools(java_directory, bootstrap)


@pytest.fixture(scope="module")
def go(go_programs, bootstrap):
    """The programs of Go by their names."""
    return {name: Program([go_programs / name], bootstrap) for name in ("franz", "sarama", "kafkago")}


@pytest.fixture(scope="module")
def kafkajs(node_modules, bootstrap):
    environ = {**os.environ, "NODE_PATH": str(node_modules)}
    return Program(["node", toolchain.NODE.sources / "client.js"], bootstrap, dashes="--", environ=environ)


@pytest.fixture(scope="module")
def orders(go, kafkajs, java, tools):
    """A topic with records of every client; gzip is what all of them can read."""
    topic = f"together-{os.getpid()}"
    java("create", topic, 1)
    go["franz"]("produce", topic=topic, count=EACH, codec="gzip")
    go["sarama"]("produce-async", topic=topic, count=EACH, codec="gzip")
    go["kafkago"]("write", topic=topic, count=EACH, codec="gzip")
    kafkajs("produce", topic=topic, count=EACH, codec="gzip")
    java("produce", topic, EACH, "gzip")
    words = ("--property", "parse.key=true", "--property", "parse.headers=true", "--compression-codec", "gzip")
    lines = "".join(f"number:{n}\tkey {n}\tvalue {n}\n" for n in range(EACH))
    tools("console-producer", "--topic", topic, *words, text=lines)
    return topic


def expected():
    return [(f"key {n}", f"value {n}") for _ in range(WRITERS) for n in range(EACH)]


def seen(rows):
    """Keys and values of *rows*, which must have one offset after the other."""
    assert column(rows, "offset") == list(range(ALL))
    assert column(rows, "headers") == [{"number": str(n)} for _ in range(WRITERS) for n in range(EACH)]
    return [(row["key"], row["value"]) for row in rows]


def test_franz_go_reads_what_every_client_wrote(go, orders):
    assert seen(go["franz"]("consume", topic=orders, count=ALL)) == expected()


def test_sarama_reads_what_every_client_wrote(go, orders):
    assert seen(go["sarama"]("consume", topic=orders, count=ALL)) == expected()


def test_kafka_go_reads_what_every_client_wrote(go, orders):
    assert seen(go["kafkago"]("conn-read", topic=orders, count=ALL)) == expected()


def test_kafkajs_reads_what_every_client_wrote(kafkajs, orders, group):
    assert seen(kafkajs("group", topic=orders, group=group, count=ALL)) == expected()


def test_the_java_client_reads_what_every_client_wrote(java, orders):
    rows = java("consume", orders, 0, ALL)
    assert [row[0] for row in rows] == list(range(ALL))
    assert [(key, value) for _, key, value, _ in rows] == expected()


def test_the_console_consumer_reads_what_every_client_wrote(tools, orders):
    words = ("--from-beginning", "--max-messages", ALL, "--property", "print.key=true")
    lines = tools("console-consumer", "--topic", orders, *words).splitlines()
    assert [tuple(line.split("\t")) for line in lines] == expected()
