"""The integration tests that came with libraries, from their source distributions; see suites.py."""

import pytest

from tests.clients.foreign_suites.suites import SUITES


@pytest.fixture
def running(suite):
    """The suite, started now or long ago."""
    running = SUITES[suite]
    running.start()
    yield running
    running.stop()


@pytest.mark.parametrize("suite", SUITES)
def test_every_test_of_a_library_passes_or_is_left_out_for_a_reason(running):
    code, output = running.result()
    assert code == 0, output
