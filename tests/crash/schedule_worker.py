"""A broker that keeps messages back, as a process that can be killed: its schedule fires into the topic `fired`.

Says on its output what was promised: `+ number due` for a message that is kept, `? number` for one that is about to
be cancelled and `- number` when it was. With `drain` it waits until nothing is left and says `fired number due` for
all that the topic has.
"""

from gevent import monkey

monkey.patch_all()

import random
import sys

import gevent

from portask import broker as broker_module
from portask.batch import decode_records
from portask.bus import Append
from portask.clock import Clock
from portask.config import load_settings
from portask.schedule import index as schedule_index
from portask.server import STORAGES


def fire(broker, target, records, done):
    """Append *records*, which are due, to the topic that *target* names."""
    partition = broker.topic(target.decode(), create=True).partitions[0]
    broker.append(Append(partition, list(records), 20 * len(records), lambda item: done(item.error)))


def say(*words):
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def load(broker, rng, first):
    """Keep messages back and cancel some until the process is killed."""
    for number in range(first, first + 1_000_000):
        due_ms = broker.clock.now_ms() + rng.choice((0, 5, 20, 100, 300, 300, 1000))
        payload = b"%d %d" % (number, due_ms)

        def done(error, number=number, due_ms=due_ms):
            assert error is None
            say("+", number, due_ms)

        broker.schedule.add([payload], len(payload), due_ms, b"fired", done)
        if rng.random() < 0.02:
            cancel(broker, rng)
        if rng.random() < 0.2:
            gevent.sleep(rng.random() * 0.005)


def cancel(broker, rng):
    page = broker.schedule.page(limit=50)
    if page:
        scheduled = rng.choice(page)
        number = scheduled.record.split()[0].decode()
        say("?", number)
        if broker.schedule.cancel(scheduled.id):
            say("-", number)


def drain(broker):
    """Say what has been fired, when all has been."""
    while len(broker.schedule) or broker.schedule._firing:
        gevent.sleep(0.01)
    partition = broker.topic("fired", create=True).partitions[0]
    offset = 0
    while batches := partition.read(offset, 100_000):
        for batch in batches:
            for record in decode_records(batch):
                say("fired", *record.decode().split())
        offset = batches[-1].next_offset
    broker.stop(10)


def main(directory, seed, first):
    broker_module.fire = fire
    # What waits goes to disk and comes back from there.
    schedule_index.MEMORY_BYTES, schedule_index.CHUNK_BYTES = 100_000, 10_000
    flags = ("--data-dir", directory, "--journal-bytes", "65536", "--segment-bytes", "65536")
    settings = load_settings(flags, {}, ())
    broker = broker_module.Broker(settings, STORAGES["local"](settings), Clock())
    broker.start()
    say("ready")
    if first == "drain":
        drain(broker)
    else:
        load(broker, random.Random(seed), int(first))


if __name__ == "__main__":
    main(*sys.argv[1:])
