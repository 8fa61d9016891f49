"""The local storage against the one in memory: the same rounds, with crashes and losses of power in between."""

from random import Random

import gevent
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from portask.storage.base import Append, Round
from portask.storage.local import LocalOptions, LocalStorage
from portask.storage.memory import MemoryStorage
from tests.crash.simulated_disk import STYLES, SimulatedDisk

LOGS = st.integers(1, 3)
COUNTS = st.integers(1, 4)
BODIES = st.binary(max_size=300)
KEYS = st.sampled_from([b"a", b"b", b"c"])


def thin(frames):
    """Of three frames one goes and one loses its body."""
    kinds = {0: lambda frame: [], 1: lambda frame: [frame._replace(body=b"")], 2: lambda frame: [frame]}
    return [left for frame in frames for left in kinds[frame.base_offset % 3](frame)]


class LogModel(RuleBasedStateMachine):
    """Rounds since the last sync are remembered, so that a loss of power can be followed in the model."""

    @initialize(journal=st.sampled_from([500, 3000]), segment=st.sampled_from([100, 2000]))
    def start(self, journal, segment):
        self.options = LocalOptions("/data", journal_bytes=journal, segment_bytes=segment, journal_files=2)
        self.disk = SimulatedDisk()
        self.local = LocalStorage(self.options, self.disk)
        self.local.open()
        self.rounds = []
        self.rewrites = []
        """After how many rounds, which log, and up to where."""
        self.synced = 0
        self.model = self.replayed()

    def replayed(self):
        model = MemoryStorage()
        model.open()
        for count, round_ in enumerate(self.rounds, 1):
            model.write(round_)
            for rewritten, log, end in self.rewrites:
                # What was rewritten had been synced, so a loss of power later does not undo it.
                if count == min(rewritten, len(self.rounds)):
                    model.rewrite(log, end, thin)
        return model

    def write(self, round_):
        round_.puts["count", b""] = b"%d" % (len(self.rounds) + 1)
        self.model.write(round_)
        self.rounds.append(round_)
        self.local.write(round_)

    @rule(
        log=LOGS, gap=st.integers(0, 2), count=COUNTS, timestamp=st.integers(0, 9), bodies=st.lists(BODIES, min_size=1)
    )
    def append(self, log, gap, count, timestamp, bodies):
        round_ = Round()
        offset = self.model.bounds(log).next_offset + gap
        for body in bodies:
            round_.appends.append(Append(log, offset, count, timestamp, [body]))
            offset += count
        self.write(round_)

    @rule(log=LOGS, share=st.integers(0, 4), key=KEYS, value=st.none() | BODIES)
    def trim_and_put(self, log, share, key, value):
        round_ = Round()
        start, end, _ = self.model.bounds(log)
        round_.trims[log] = start + (end - start) * share // 4
        round_.puts["rows", key] = value
        self.write(round_)

    @rule(log=LOGS, gather=st.booleans())
    def rewrite(self, log, gather):
        reach = self.local.rewritable(log, gather)
        self.local.rewrite(log, reach.next_offset, thin)
        if log in self.local.logs():
            self.synced = len(self.rounds)
        self.model.rewrite(log, reach.next_offset, thin)
        self.rewrites.append((len(self.rounds), log, reach.next_offset))

    @rule(log=LOGS)
    def drop(self, log):
        round_ = Round()
        round_.drops.append(log)
        self.write(round_)

    @rule()
    def sync(self):
        self.local.sync()
        self.synced = len(self.rounds)

    @rule()
    def let_the_mover_work(self):
        gevent.sleep(0.001)

    @rule()
    def reopen(self):
        self.local.close()
        self.local = LocalStorage(self.options, self.disk)
        self.local.open()
        self.synced = len(self.rounds)

    @rule(seed=st.integers(0, 1 << 32), style=st.sampled_from(STYLES), is_kill=st.booleans())
    def lose_power(self, seed, style, is_kill):
        files = self.disk.files.copy()
        self.local.close()
        least = len(self.rounds) if is_kill else self.synced
        self.disk = SimulatedDisk(files if is_kill else files.crash(Random(seed), style))
        self.local = LocalStorage(self.options, self.disk)
        self.local.open()
        found = int(self.local.load("count").get(b"", b"0"))
        assert least <= found <= len(self.rounds)
        del self.rounds[found:]
        self.rewrites = [(min(count, found), log, end) for count, log, end in self.rewrites]
        self.synced = found
        self.model = self.replayed()

    @precondition(lambda self: hasattr(self, "model"))
    @rule(log=LOGS, offset=st.integers(0, 30), max_bytes=st.integers(0, 1000))
    def read(self, log, offset, max_bytes):
        assert self.local.read(log, offset, max_bytes) == self.model.read(log, offset, max_bytes)

    @rule(log=LOGS, timestamp=st.integers(0, 10))
    def find_time(self, log, timestamp):
        assert self.local.find_time(log, timestamp) == self.model.find_time(log, timestamp)

    @rule(log=LOGS, keep_bytes=st.integers(0, 2000))
    def find_size(self, log, keep_bytes):
        assert self.local.find_size(log, keep_bytes) <= self.model.bounds(log).next_offset
        start, _, size = self.local.bounds(log)
        assert self.local.find_size(log, size + keep_bytes) == start

    @invariant()
    def both_hold_the_same(self):
        if not hasattr(self, "model"):
            return
        assert sorted(self.local.logs()) == sorted(self.model.logs())
        for log in self.model.logs():
            assert self.local.bounds(log)[:2] == self.model.bounds(log)[:2]
            assert self.local.bounds(log).size_bytes >= self.model.bounds(log).size_bytes
        for table in ("count", "rows"):
            assert self.local.load(table) == self.model.load(table)

    def teardown(self):
        if hasattr(self, "local"):
            self.local.close()


TestLog = LogModel.TestCase
TestLog.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
