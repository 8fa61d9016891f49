"""kombu's own integration tests of its transport over py-amqp, from its source distribution."""

from tests.clients import toolchain
from tests.clients.foreign_suites.suite import run_suite

LONGEST_S = 240


def test_every_test_of_kombu_passes_or_is_left_out_for_a_reason(address, tmp_path):
    host, port = address
    environ = {"RABBITMQ_HOST": host, "RABBITMQ_5672_TCP": str(port)}
    run_suite(toolchain.KOMBU, "kombu.txt", ["t/integration"], tmp_path, environ=environ, longest_s=LONGEST_S)
