"""The clients of other languages, built for the tests; see toolchain.py."""

import pytest

from tests.clients import toolchain


@pytest.fixture(scope="session")
def go_programs():
    """The directory with the programs of go/."""
    return toolchain.GO.require()


@pytest.fixture(scope="session")
def node_modules():
    """The directory in which Node finds the packages of node/package.json."""
    return toolchain.NODE.require() / "node_modules"


@pytest.fixture(scope="session")
def java_directory():
    """The directory with Kafka's jars in libs/ and the classes of java/ in classes/."""
    return toolchain.JAVA.require()


@pytest.fixture(scope="session")
def java_amqp_directory():
    """The directory with RabbitMQ's jars in libs/ and the classes of java_amqp/ in classes/."""
    return toolchain.JAVA_AMQP.require()
