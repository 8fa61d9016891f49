"""The property user_id is checked against who is logged in."""

import pytest

from tests.clients.amqp.session import channel_refused, poll, publish

PASSWORD = "kI3GCqG+cq65rBQ9tiUUCREygKhmilKrZEWKSz+H0FJ1fk4/"
"""RabbitMQ's hash (four bytes of salt, then SHA-256) of `secret`."""


@pytest.fixture
def impersonator(broker, connect):
    """A channel of a user with the tag `impersonator`."""
    user = {
        "name": "actor",
        "password_hash": PASSWORD,
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": ["impersonator"],
    }
    rights = {"user": "actor", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}
    broker.define(users=[user], permissions=[rights])
    channel = connect(user="actor", password="secret").channel()
    channel.confirm_delivery()
    return channel


def test_own_user_id_is_carried(channel, publisher, queue):
    publish(publisher, queue, b"hello", user_id="guest")

    assert poll(channel, queue).properties.user_id == "guest"


@pytest.mark.parametrize("user_id", ["admin", "Guest", ""])
def test_user_id_of_another_is_406(publisher, queue, user_id):
    with channel_refused(406, f"user_id property set to '{user_id}' but authenticated user was 'guest'"):
        publish(publisher, queue, b"hello", user_id=user_id)


def test_no_user_id_is_no_matter(channel, publisher, queue):
    publish(publisher, queue, b"hello")

    assert poll(channel, queue).properties.user_id is None


def test_impersonator_may_name_another(channel, impersonator, queue):
    publish(impersonator, queue, b"hello", user_id="admin")

    assert poll(channel, queue).properties.user_id == "admin"
