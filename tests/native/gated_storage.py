"""Storage that waits and fails when it is told to."""

from gevent.event import Event

from portask.storage.memory import MemoryStorage


class GatedStorage(MemoryStorage):
    """Syncs only while the gate is open; writes fail when told to."""

    def __init__(self):
        super().__init__()
        self.gate = Event()
        self.gate.set()
        self.failure = None

    def write(self, round_):
        if self.failure is not None:
            raise self.failure
        super().write(round_)

    def sync(self):
        self.gate.wait()
