"""What every test may need. Patching comes before any other import, as in portask.__main__."""

from gevent import monkey

monkey.patch_all()

from collections.abc import Callable

import gevent
import pytest
from hypothesis import settings

from portask.clock import ManualClock

# How long an example takes is the machine's matter, not the test's.
settings.register_profile("portask", deadline=None, print_blob=True)
settings.load_profile("portask")


@pytest.fixture
def clock():
    """A clock that the test moves."""
    return ManualClock()


@pytest.fixture
def wait_until():
    """A function that returns when a condition holds and fails the test when it doesn't within a deadline."""

    def wait(condition: Callable[[], object], timeout: float = 10.0) -> None:
        with gevent.Timeout(timeout, AssertionError(f"not true within {timeout} s")):
            while not condition():
                gevent.sleep(0.001)

    return wait
