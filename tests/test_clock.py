"""The clock of the machine and the one that tests move."""

from portask.clock import Clock


def test_wall_time_is_milliseconds_since_1970():
    assert 1_700_000_000_000 < Clock().now_ms() < 10_000_000_000_000


def test_monotonic_time_never_goes_back():
    clock = Clock()

    assert clock.monotonic() <= clock.monotonic()


def test_manual_clock_stands_still(clock):
    assert (clock.now_ms(), clock.monotonic()) == (clock.now_ms(), clock.monotonic())


def test_manual_clock_moves_both_times(clock):
    now_ms, monotonic = clock.now_ms(), clock.monotonic()
    clock.advance(1.5)

    assert (clock.now_ms() - now_ms, clock.monotonic() - monotonic) == (1500, 1.5)
