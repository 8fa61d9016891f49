"""The suites: kombu's and py-amqp's of their transports, and Celery's with results in queues and in Redis."""

from tests.clients import toolchain
from tests.clients.foreign_suites.suite import Suite

CELERY_WORDS = ("-p", "celery.contrib.pytest", "--timeout", "300")
CELERY_LONGEST_S = 1800


def by_port(host, port, redis):
    """How kombu and py-amqp are told."""
    return {"RABBITMQ_HOST": host, "RABBITMQ_5672_TCP": str(port)}


def results_in_queues(host, port, redis):
    """How Celery is told."""
    return {"TEST_BROKER": f"pyamqp://guest:guest@{host}:{port}//", "TEST_BACKEND": "rpc://"}


def results_in_redis(host, port, redis):
    """How Celery is told of both."""
    redis_host, _, redis_port = redis.partition(":")
    backend = {"TEST_BACKEND": f"redis://{redis}/0", "REDIS_HOST": redis_host, "REDIS_PORT": redis_port}
    return results_in_queues(host, port, redis) | backend


def celery(left_out, environ, **needs):
    """Its tests with one result backend; the two of them wait most of the time."""
    return Suite(
        toolchain.CELERY, left_out, environ,
        longest_s=CELERY_LONGEST_S, words=CELERY_WORDS, mostly_waits=True, **needs,
    )  # fmt: skip


SUITES = {
    "py-amqp": Suite(toolchain.PY_AMQP, "py_amqp.txt", by_port, longest_s=120),
    "kombu": Suite(toolchain.KOMBU, "kombu.txt", by_port, longest_s=240),
    "celery-queues": celery("celery_rpc.txt", results_in_queues),
    "celery-redis": celery("celery_redis.txt", results_in_redis, needs_redis=True),
}
