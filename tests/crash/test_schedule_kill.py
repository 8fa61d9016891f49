"""The schedule's process, killed at random moments: no message that it promised to keep is lost.

What was cancelled is never fired; what is fired twice was being fired when the process died. SCHEDULE_KILLS in the
environment says how many kills there are over all seeds, 15 if it does not.
"""

import os
import random
import subprocess
import sys

import gevent
import pytest

from portask.schedule.schedule import MAX_FIRING

KILLS_PER_SEED = 5
SEEDS = range(-(-int(os.environ.get("SCHEDULE_KILLS", "15")) // KILLS_PER_SEED))


class Worker:
    """One life of the process."""

    def __init__(self, directory, seed, first):
        command = [sys.executable, "-m", "tests.crash.schedule_worker", str(directory), str(seed), str(first)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n"

    def kill(self):
        self.process.kill()
        return self.rest()

    def rest(self):
        """The whole lines that it said."""
        with self.process:
            said = self.process.stdout.read()
        return [line.split() for line in said.splitlines(keepends=True) if line.endswith("\n")]


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_kept_back_is_fired_whenever_the_process_is_killed(seed, tmp_path):
    rng = random.Random(seed)
    kept, asked, cancelled = set(), set(), set()
    for life in range(KILLS_PER_SEED):
        worker = Worker(tmp_path / "data", seed * 100 + life, life * 1_000_000)
        try:
            gevent.sleep(0.05 + rng.random() * 0.6)
        finally:
            said = worker.kill()
        for word, number, *_ in said:
            if word == "+":
                kept.add(number)
            elif word == "?":
                asked.add(number)
            else:
                cancelled.add(number)
    worker = Worker(tmp_path / "data", seed, "drain")
    try:
        with gevent.Timeout(30):
            fired = [number for _, number, _ in worker.rest()]
    finally:
        worker.process.kill()

    assert kept
    # Of those that were asked to be cancelled, some were and the answer was lost.
    assert kept - asked - set(fired) == set()
    assert cancelled & set(fired) == set()
    assert len(fired) - len(set(fired)) <= KILLS_PER_SEED * MAX_FIRING
    verified = subprocess.run(
        [sys.executable, "-m", "portask", "verify", str(tmp_path / "data")], capture_output=True, text=True, check=False
    )
    assert verified.returncode == 0, verified.stdout + verified.stderr
    print(f"seed {seed}: {len(kept)} kept, {len(cancelled)} cancelled, {len(fired) - len(set(fired))} fired twice")
