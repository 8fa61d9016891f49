"""Rounds that fill a storage, and a thread that is held."""

import gevent
from gevent.monkey import get_original

from portask.storage.base import Append, Round

BODY = b"x" * 400


class HeldThread:
    """Keeps a thread in a call until the test lets it go on."""

    def __init__(self):
        self._gate = get_original("_thread", "allocate_lock")()
        self._gate.acquire()
        self._held = False

    def hold(self):
        self._held = True
        self._gate.acquire()

    def wait_until_held(self):
        with gevent.Timeout(10):
            while not self._held:
                gevent.sleep(0.001)

    def release(self):
        if self._gate.locked():
            self._gate.release()


def append(storage, body=BODY, log=1):
    round_ = Round()
    round_.appends.append(Append(log, storage.bounds(log).next_offset, 1, 0, [body]))
    storage.write(round_)


def put(storage, key=b"k", value=b"v"):
    round_ = Round()
    round_.puts["rows", key] = value
    storage.write(round_)


def fill(storage, count=30):
    for _ in range(count):
        append(storage)


def fill_file(storage):
    """Append until another journal file is begun."""
    number = storage._newest.number
    for _ in range(20):
        if storage._newest.number == number:
            append(storage)


def offsets(storage, log=1):
    return [frame.base_offset for frame in storage.read(log, 0, 1 << 20)]
