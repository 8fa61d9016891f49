"""The loop monitor."""

import time

from portask.clock import Clock
from portask.telemetry.loop import LoopMonitor


def test_blocked_loop_is_late(wait_until):
    monitor = LoopMonitor(Clock(), interval_s=0.001)
    monitor.start()
    wait_until(lambda: monitor.beats)

    _block(0.05)
    beats = monitor.beats
    wait_until(lambda: monitor.beats > beats)
    monitor.stop()

    assert monitor.longest_lag_s >= 0.03
    assert monitor.late_s >= monitor.longest_lag_s >= monitor.lag_s >= 0


def test_watchdog_is_fed_at_every_beat(wait_until):
    fed = []
    monitor = LoopMonitor(Clock(), lambda: fed.append(1), interval_s=0.001)
    monitor.start()

    wait_until(lambda: monitor.beats >= 3)
    monitor.stop()

    assert len(fed) == monitor.beats


def test_stopped_monitor_does_nothing_more(wait_until):
    monitor = LoopMonitor(Clock(), interval_s=0.001)
    monitor.start()
    wait_until(lambda: monitor.beats)

    monitor.stop()
    monitor.stop()

    assert monitor._greenlet is None


def _block(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass
