"""Celery's own integration tests, from its source distribution, with results in queues and then in Redis."""

from tests.clients import toolchain
from tests.clients.foreign_suites.suite import run_suite

LONGEST_S = 1800
WORDS = ("-p", "celery.contrib.pytest", "--timeout", "120")


def run(address, tmp_path, left_out, **environ):
    environ |= {"TEST_BROKER": "pyamqp://guest:guest@{}:{}//".format(*address)}
    paths = ["t/integration"]
    run_suite(toolchain.CELERY, left_out, paths, tmp_path, environ=environ, longest_s=LONGEST_S, words=WORDS)


def test_every_test_of_celery_with_results_in_queues_passes_or_is_left_out_for_a_reason(address, tmp_path):
    run(address, tmp_path, "celery_rpc.txt", TEST_BACKEND="rpc://")


def test_every_test_of_celery_with_results_in_redis_passes_or_is_left_out_for_a_reason(address, redis, tmp_path):
    environ = {"TEST_BACKEND": f"redis://{redis}/0", "REDIS_HOST": "127.0.0.1", "REDIS_PORT": redis.rpartition(":")[2]}
    run(address, tmp_path, "celery_redis.txt", **environ)
