"""What the arguments of a queue mean, and RabbitMQ's words for those that mean nothing."""

import re
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from portask.errors import PreconditionError
from portask.queues.arguments import QueueArguments, check_equivalent, parse_arguments, type_name

QUEUE = "queue 'q' in vhost '/'"


def parse(**arguments):
    return parse_arguments({f"x-{name.replace('_', '-')}": value for name, value in arguments.items()}, QUEUE)


def test_without_arguments_it_is_a_classic_queue_without_limits():
    assert parse() == QueueArguments()


def test_every_argument_of_a_classic_queue_has_its_place():
    assert parse(
        message_ttl=1,
        expires=2,
        max_length=3,
        max_length_bytes=4,
        overflow="reject-publish",
        dead_letter_exchange="dx",
        dead_letter_routing_key="dk",
        max_priority=5,
        single_active_consumer=True,
        consumer_timeout=6,
        queue_mode="lazy",
        queue_version=2,
        message_deduplication=True,
        cache_size=7,
        cache_ttl=8,
        unknown="x",
    ) == QueueArguments(
        message_ttl_ms=1,
        expires_ms=2,
        max_length=3,
        max_length_bytes=4,
        overflow="reject-publish",
        dead_letter_exchange="dx",
        dead_letter_routing_key="dk",
        max_priority=5,
        single_active_consumer=True,
        consumer_timeout_ms=6,
        deduplicates=True,
        cache_size=7,
        cache_ttl_ms=8,
    )


def test_a_priority_queue_has_a_log_for_each_priority():
    assert (parse().partitions, parse(max_priority=5).partitions) == (1, 6)


@pytest.mark.parametrize(("said", "limit"), [({}, 20), ({"delivery_limit": 5}, 5), ({"delivery_limit": -1}, None)])
def test_a_quorum_queue_has_a_delivery_limit(said, limit):
    assert parse(queue_type="quorum", **said).delivery_limit == limit


@pytest.mark.parametrize(("said", "milliseconds"), [("7D", 604_800_000), ("2h", 7_200_000), ("1Y", 31_536_000_000)])
def test_a_stream_keeps_messages_for_an_age(said, milliseconds):
    assert parse(queue_type="stream", max_age=said).max_age_ms == milliseconds


REFUSED = [
    ({"message_ttl": -1}, "x-message-ttl", "{value_negative,-1}"),
    ({"message_ttl": "abc"}, "x-message-ttl", '"expected integer, got longstr"'),
    ({"message_ttl": True}, "x-message-ttl", '"expected integer, got bool"'),
    ({"message_ttl": None}, "x-message-ttl", '"expected integer, got void"'),
    ({"message_ttl": 1 << 40}, "x-message-ttl", f"{{value_too_large,{1 << 40}}}"),
    ({"expires": 0}, "x-expires", "{value_zero,0}"),
    ({"max_length": -1}, "x-max-length", "{value_negative,-1}"),
    ({"max_priority": 256}, "x-max-priority", "{max_value_exceeded,256}"),
    ({"overflow": "no"}, "x-overflow", "invalid_overflow"),
    ({"overflow": 5}, "x-overflow", "{unacceptable_type,signedint}"),
    ({"queue_type": "no"}, "x-queue-type", "\"unsupported queue type 'no'\""),
    ({"queue_type": 5}, "x-queue-type", "{unacceptable_type,signedint}"),
    ({"dead_letter_routing_key": "k"}, "x-dead-letter-routing-key", "routing_key_but_no_dlx_defined"),
    ({"single_active_consumer": "yes"}, "x-single-active-consumer", "{unacceptable_type,longstr}"),
    ({"queue_mode": "fast"}, "x-queue-mode", "\"unsupported queue mode 'fast'\""),
    ({"queue_version": 3}, "x-queue-version", "\"unsupported queue version '3'\""),
    ({"queue_type": "stream", "max_age": "soon"}, "x-max-age", "invalid_max_age"),
    ({"queue_type": "stream", "max_age": "0D"}, "x-max-age", "invalid_max_age"),
    ({"queue_type": "quorum", "dead_letter_strategy": "x"}, "x-dead-letter-strategy", "invalid_dlx_strategy"),
    ({"queue_leader_locator": "x"}, "x-queue-leader-locator", "invalid_queue_locator_arg"),
]


@pytest.mark.parametrize(("arguments", "name", "refusal"), REFUSED)
def test_value_that_cannot_be_is_refused_in_the_words_that_clients_know(arguments, name, refusal):
    with pytest.raises(PreconditionError, match=f"^{re.escape(f'invalid arg {name!r} for {QUEUE}: {refusal}')}$"):
        parse(**arguments)


def test_dead_letter_exchange_that_is_no_text_has_words_of_its_own():
    text = f"invalid type 'signedint' for arg 'x-dead-letter-exchange' in {QUEUE}"
    with pytest.raises(PreconditionError, match=f"^{re.escape(text)}$"):
        parse(dead_letter_exchange=5)


@pytest.mark.parametrize(
    ("arguments", "name", "queue_type"),
    [
        ({"max_age": "7D"}, "x-max-age", "classic"),
        ({"delivery_limit": 3}, "x-delivery-limit", "classic"),
        ({"queue_type": "stream", "message_ttl": 5}, "x-message-ttl", "stream"),
        ({"queue_type": "quorum", "max_priority": 5}, "x-max-priority", "quorum"),
    ],
)
def test_argument_of_another_type_of_queue_is_refused(arguments, name, queue_type):
    text = f"invalid arg '{name}' for {QUEUE} of queue type rabbit_{queue_type}_queue"
    with pytest.raises(PreconditionError, match=f"^{re.escape(text)}$"):
        parse(**arguments)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (True, "bool"),
        (5, "signedint"),
        (1 << 40, "long"),
        ("x", "longstr"),
        (b"x", "binary"),
        (1.5, "double"),
        ([], "array"),
        ({}, "table"),
        (None, "void"),
        (Decimal(1), "decimal"),
        (datetime(2026, 1, 1, tzinfo=UTC), "timestamp"),
    ],
)
def test_types_have_the_names_of_rabbitmq(value, name):
    assert type_name(value) == name


def test_what_is_no_argument_of_the_type_is_not_compared():
    check_equivalent({"x-max-age": "7D", "x-else": 1}, {"x-else": 2}, "classic", QUEUE)


def test_the_first_difference_is_told():
    with pytest.raises(PreconditionError, match="'x-expires'"):
        check_equivalent({"x-max-length": 1, "x-expires": 1}, {}, "classic", QUEUE)
