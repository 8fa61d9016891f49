"""Random rounds for crash tests, and what a storage must hold after each of them."""

from __future__ import annotations

import gevent

from portask.errors import CorruptError
from portask.storage.base import Append, Round
from portask.storage.local import LocalOptions, LocalStorage
from portask.storage.memory import MemoryStorage

LOGS = range(1, 5)
COUNTER = ("meta", b"rounds")
OPTIONS = LocalOptions("/var/data", journal_bytes=6000, segment_bytes=5000, journal_files=3, open_files=4)


def random_round(random, model, number, trim_share):
    """A round of everything that a round may hold, which also says that it is round *number*."""
    round_ = Round()
    round_.puts[COUNTER] = b"%d" % number
    if random.random() < 0.03:
        round_.drops.append(random.choice(LOGS))
    for log in LOGS:
        if log not in round_.drops and random.random() < 0.4:
            offset = model.bounds(log).next_offset + (random.random() < 0.1)
            for _ in range(random.randint(1, 2)):
                count = random.randint(1, 5)
                body = [random.randbytes(random.choice((0, 10, 200))), b"%d" % offset]
                round_.appends.append(Append(log, offset, count, 1000 + number, body))
                offset += count
    if random.random() < trim_share:
        log = random.choice(LOGS)
        bounds = model.bounds(log)
        round_.trims[log] = random.randint(bounds.start_offset, bounds.next_offset + 3)
    for _ in range(random.randint(0, 3)):
        value = random.randbytes(20) if random.random() < 0.7 else None
        round_.puts["rows", b"%d" % random.randint(0, 20)] = value
    return round_


def contents(storage):
    """All that a storage holds, as one value."""
    tables = {table: storage.load(table) for table in ("meta", "rows")}
    logs = {}
    for log in sorted(storage.logs()):
        start, end, _ = storage.bounds(log)
        frames = []
        offset = start
        while part := storage.read(log, offset, 2000):
            frames += part
            offset = part[-1].next_offset
        logs[log] = (start, end, frames)
    return tables, logs


def rounds_in(storage):
    """The number of the last round that a storage holds."""
    return int(storage.load(COUNTER[0]).get(COUNTER[1], b"0"))


class Workload:
    """Writes random rounds to a storage, and remembers what it held after each."""

    def __init__(self, random):
        self._random = random
        self._trim_share = random.choice((0.05, 0.5))
        self._model = MemoryStorage()
        self._model.open()
        self.rounds = []
        self.contents = [contents(self._model)]

    def cut(self, count):
        """Go back to the state after *count* rounds."""
        del self.rounds[count:], self.contents[count + 1 :]
        self._model = MemoryStorage()
        self._model.open()
        for round_ in self.rounds:
            self._model.write(round_)

    def run(self, storage, disk, count):
        """Write *count* rounds, syncing now and then, and mark on *disk* what was promised."""
        for _ in range(count):
            number = len(self.rounds) + 1
            round_ = random_round(self._random, self._model, number, self._trim_share)
            self._model.write(round_)
            self.rounds.append(round_)
            self.contents.append(contents(self._model))
            disk.mark("begun", number)
            storage.write(round_)
            if self._random.random() < 0.4:
                storage.sync()
                disk.mark("synced", number)
            if self._random.random() < 0.2:
                gevent.sleep(self._random.choice((0.001, 0.001, 0.01)))


def promised(operations):
    """The last synced and the last begun round."""
    synced = begun = 0
    for kind, *rest in operations:
        if kind == "mark":
            if rest[0] == "synced":
                synced = rest[1]
            else:
                begun = rest[1]
    return synced, begun


def open_storage(disk, options=OPTIONS):
    storage = LocalStorage(options, disk)
    storage.open()
    return storage


def readable(storage):
    """The contents, or None when the storage says that it is damaged."""
    try:
        return contents(storage)
    except CorruptError:
        return None
