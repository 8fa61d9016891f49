"""The schedule: messages wait on disk and are fired when they are due, in that order, once."""

import os

import gevent
import pytest

from portask import broker as broker_module
from portask.batch import decode_records
from portask.bus import Append
from portask.clock import Clock
from portask.config import load_settings
from portask.errors import CorruptError, ShuttingDownError, StorageFullError, UnavailableError
from portask.message import encode_cbor
from portask.schedule import index as schedule_index
from portask.schedule import schedule as schedule_module
from portask.schedule.bucket import pack, unpack
from portask.schedule.schedule import DAY_MS, HOUR_MS, MINUTE_MS, RETRY_S
from portask.spill import SpillFile
from portask.storage.base import Round
from portask.storage.memory import MemoryStorage


class Firings:
    """Takes what is fired, and answers it when it may."""

    def __init__(self):
        self.fired = []
        self.held = None
        self.refuse = None

    def fire(self, broker, target, records, done):
        self.fired += [(target, record) for record in records]
        if self.refuse is not None:
            done(self.refuse)
        elif self.held is not None:
            self.held.append(done)
        else:
            done(None)

    @property
    def bodies(self):
        return [record if isinstance(record, bytes) else record[0] for _, record in self.fired]


@pytest.fixture
def firings(monkeypatch):
    firings = Firings()
    monkeypatch.setattr(broker_module, "fire", firings.fire)
    return firings


@pytest.fixture
def broker(firings, make_broker):
    return make_broker()


@pytest.fixture
def advance(clock):
    def move(broker, seconds):
        clock.advance(seconds)
        broker.schedule.wake()

    return move


def add(broker, clock, delay_s, *records, target=b"target"):
    """Schedule *records* and wait until that is durable."""
    answers = []
    answered = gevent.event.Event()

    def done(error):
        answers.append(error)
        answered.set()

    broker.schedule.add(list(records), 10 * len(records), clock.now_ms() + round(delay_s * 1000), target, done)
    assert answered.wait(10)
    assert answers == [None]


def settle_all(wait_until, broker):
    """Wait until everything fired is settled and stored."""
    wait_until(lambda: not broker.schedule._firing and not broker.schedule._is_saving and not broker.schedule._dirty)


class TestFiring:
    """When the time has come."""

    def test_a_message_is_fired_when_it_is_due_and_not_before(self, broker, clock, advance, firings, wait_until):
        add(broker, clock, 10, b"a")
        advance(broker, 9.999)
        gevent.sleep(0)
        settle_all(wait_until, broker)
        assert firings.fired == []

        advance(broker, 0.001)
        wait_until(lambda: firings.fired)

        assert firings.fired == [(b"target", b"a")]

    def test_messages_are_fired_in_the_order_of_their_times(self, broker, clock, advance, firings, wait_until):
        for delay_s in (30, 10, 3 * 3600, 20, 2 * 86400, 700, 100 * 86400, 15):
            add(broker, clock, delay_s, b"%d" % delay_s)
        advance(broker, 101 * 86400)
        wait_until(lambda: len(firings.fired) == 8)

        assert [int(body) for body in firings.bodies] == sorted(int(body) for body in firings.bodies)

    def test_messages_of_one_time_are_fired_in_the_order_in_which_they_came(
        self, broker, clock, advance, firings, wait_until
    ):
        add(broker, clock, 5, b"a", b"b")
        add(broker, clock, 5, b"c")
        advance(broker, 5)
        wait_until(lambda: len(firings.fired) == 3)

        assert firings.bodies == [b"a", b"b", b"c"]

    def test_large_messages_are_fired_a_few_at_a_time(self, broker, clock, advance, firings, wait_until, monkeypatch):
        together = []

        def fire(target, records, done):
            together.append(len(records))
            done(None)

        monkeypatch.setattr(broker.schedule, "_fire", fire)
        for _ in range(8):
            add(broker, clock, 5, b"x" * (1 << 20))
        advance(broker, 5)
        wait_until(lambda: sum(together) == 8)

        assert max(together) == 4

    def test_an_earlier_message_that_comes_later_is_fired_first(self, broker, clock, advance, firings, wait_until):
        add(broker, clock, 5, b"late")
        wait_until(
            lambda: (
                broker.schedule._buckets
                and all(b.unknown_ms > clock.now_ms() + 10_000 for b in broker.schedule._buckets.values())
            )
        )
        add(broker, clock, 3, b"early")
        advance(broker, 3)
        wait_until(lambda: firings.fired)

        assert firings.bodies == [b"early"]

    def test_what_is_due_already_is_fired_at_once(self, broker, clock, firings, wait_until):
        add(broker, clock, -1000, b"a")
        wait_until(lambda: firings.fired)

    def test_real_time_needs_nobody_to_wake_the_schedule(self, firings, make_broker, wait_until):
        broker = broker_module.Broker(load_settings([], {}, ()), MemoryStorage(), Clock())
        broker.start()
        add(broker, broker.clock, 0.05, b"a")
        wait_until(lambda: firings.fired)
        broker.stop(5)

    def test_every_target_gets_its_own(self, broker, clock, advance, firings, wait_until):
        add(broker, clock, 5, b"a", target=b"one")
        add(broker, clock, 5, b"b", target=b"two")
        add(broker, clock, 5, b"c", target=b"one")
        advance(broker, 5)
        wait_until(lambda: len(firings.fired) == 3)

        assert firings.fired == [(b"one", b"a"), (b"two", b"b"), (b"one", b"c")]

    def test_what_could_not_be_fired_is_fired_again_later(self, broker, clock, advance, firings, wait_until):
        firings.refuse = UnavailableError("not now")
        add(broker, clock, 5, b"a", b"b")
        advance(broker, 5)
        wait_until(lambda: len(firings.fired) == 2)
        settle_all(wait_until, broker)

        firings.refuse = None
        advance(broker, RETRY_S)
        wait_until(lambda: len(firings.fired) == 4)
        settle_all(wait_until, broker)

        assert firings.bodies == [b"a", b"b"] * 2
        assert broker.schedule.fired_total == 2

    def test_a_mistake_in_firing_is_a_try_that_failed(self, broker, clock, advance, firings, wait_until, caplog):
        firings.refuse = None
        first = firings.fire

        def fail(*_):
            broker.schedule._fire = lambda target, records, done: first(broker, target, records, done)
            raise TypeError("mistake")

        broker.schedule._fire = fail
        add(broker, clock, 5, b"a")
        advance(broker, 5)
        wait_until(lambda: "firing failed" in caplog.text)
        advance(broker, RETRY_S)
        wait_until(lambda: firings.fired)

        assert firings.bodies == [b"a"]

    def test_a_clock_that_jumps_back_fires_nothing_twice(self, broker, clock, advance, firings, wait_until):
        add(broker, clock, 5, b"a")
        advance(broker, 5)
        wait_until(lambda: firings.fired)
        settle_all(wait_until, broker)
        clock._now_ms -= HOUR_MS
        add(broker, clock, 5, b"b")
        advance(broker, 5)
        wait_until(lambda: len(firings.fired) == 2)

        assert firings.bodies == [b"a", b"b"]


class TestKeeping:
    """How messages wait."""

    def test_records_of_all_shapes_come_back_equal(self, broker, clock, advance, firings, wait_until):
        records = [
            b"plain",
            (b"body", b"key", None, None, b"properties"),
            (b"", b"", None, None, b""),
            (None, b"key", None, None, None),
            (b"x", None, ["name", b"value", "other", None], 1234, b"p"),
        ]
        assert [unpack(packed)[2] for packed in pack(records, 5, b"t")] == records
        add(broker, clock, 5, *records)
        advance(broker, 5)
        wait_until(lambda: len(firings.fired) == 5)

        assert [record if isinstance(record, bytes) else tuple(record) for _, record in firings.fired] == records

    def test_a_broken_record_is_an_error_of_storage(self):
        for packed in (b"x", (b"x",), (b"x", None, None, 5, b"short"), (b"x", None, None, 5, b"\xff" * 20)):
            with pytest.raises(CorruptError):
                unpack(packed)

    def test_what_waits_is_counted(self, broker, clock, advance, firings, wait_until):
        add(broker, clock, 5, b"a", b"b")
        add(broker, clock, 5000, b"c")
        assert len(broker.schedule) == 3

        advance(broker, 5)
        wait_until(lambda: len(firings.fired) == 2)
        settle_all(wait_until, broker)

        assert len(broker.schedule) == 1

    def test_a_bucket_that_is_over_leaves_nothing_behind(self, broker, clock, advance, firings, wait_until):
        logs = set(broker.storage.logs())
        add(broker, clock, 5, b"a")
        add(broker, clock, 5000, b"b")
        advance(broker, 2 * HOUR_MS / 1000)
        wait_until(lambda: len(firings.fired) == 2)
        settle_all(wait_until, broker)
        wait_until(lambda: not broker.storage.load("schedule"))

        assert set(broker.storage.logs()) == logs
        assert broker.storage.load("settled") == {}

    def test_what_is_far_away_takes_few_buckets(self, broker, clock):
        for day in range(50):
            add(broker, clock, day * 86400 + 7, b"x")
            add(broker, clock, day * 3600 + 90, b"x")

        assert len(broker.schedule._buckets) < 80

    def test_more_messages_than_memory_holds_are_fired_in_order(
        self, make_broker, clock, advance, firings, wait_until, monkeypatch, tmp_path
    ):
        monkeypatch.setattr(schedule_index, "MEMORY_BYTES", 10_000)
        monkeypatch.setattr(schedule_index, "CHUNK_BYTES", 3000)
        broker = make_broker("--data-dir", str(tmp_path))
        delays = [(number * 7919) % 1000 for number in range(300)]
        for start in range(0, 300, 50):
            for delay in delays[start : start + 50]:
                broker.schedule.add([b"%d" % delay], 3, clock.now_ms() + 1000 + delay, b"t", None)
        wait_until(lambda: len(broker.schedule) == 300)
        advance(broker, 2)
        wait_until(lambda: len(firings.fired) == 300)

        assert [int(body) for body in firings.bodies] == sorted(delays)

    def test_what_comes_while_a_bucket_is_read_is_in_its_index(self, broker, clock, advance, firings, wait_until):
        bucket = None

        def read_runs(offset, max_bytes):
            if len(broker.schedule) == 1:
                add(broker, clock, 599.5, b"meanwhile")
            return type(bucket.partition).read_runs(bucket.partition, offset, max_bytes)

        add(broker, clock, 600, b"first")
        (bucket,) = broker.schedule._buckets.values()
        bucket.partition.read_runs = read_runs
        bucket.scan()
        del bucket.partition.read_runs
        advance(broker, 601)
        wait_until(lambda: len(firings.fired) == 2)

        assert firings.bodies == [b"meanwhile", b"first"]

    def test_messages_of_a_transaction_are_scheduled_with_it(self, broker, clock, advance, firings, wait_until):
        items, answers = [], []
        broker.schedule.add([b"a"], 1, clock.now_ms() + 5000, b"t", answers.append, into=items)
        assert len(items) == 1
        assert len(broker.schedule) == 0
        broker.bus.put_all(items)
        wait_until(lambda: answers)
        advance(broker, 5)
        wait_until(lambda: firings.fired)

    def test_a_refused_round_is_answered(self, make_broker, firings, clock, wait_until):
        class FullStorage(MemoryStorage):
            full = None

            def write(self, round_):
                if self.full is not None:
                    raise self.full
                super().write(round_)

        storage = FullStorage()
        broker = make_broker(storage=storage)
        add(broker, clock, 5, b"a")
        storage.full = StorageFullError("no space left")
        answers = []
        broker.schedule.add([b"b"], 1, clock.now_ms() + 5000, b"t", answers.append)
        wait_until(lambda: answers)
        storage.full = None

        assert isinstance(answers[0], StorageFullError)
        assert len(broker.schedule) == 1

    def test_settling_goes_on_after_storage_was_full(self, make_broker, firings, clock, advance, wait_until):
        class FullStorage(MemoryStorage):
            full = None

            def write(self, round_):
                if self.full is not None:
                    raise self.full
                super().write(round_)

        storage = FullStorage()
        broker = make_broker(storage=storage)
        add(broker, clock, 5, b"a")
        storage.full = StorageFullError("no space left")
        advance(broker, 5)
        wait_until(lambda: firings.fired and broker.schedule._save_after)
        storage.full = None
        advance(broker, RETRY_S)
        settle_all(wait_until, broker)
        advance(broker, 2 * MINUTE_MS / 1000)
        wait_until(lambda: not broker.schedule._buckets)

        assert firings.bodies == [b"a"]


class TestListing:
    """Looking at what waits, and taking it away."""

    def test_pages_follow_one_another(self, broker, clock):
        for number in range(25):
            add(broker, clock, 60 + number * 120, b"%d" % number)
        ids, after = [], ""
        while page := broker.schedule.page(after, 7):
            ids += [int(scheduled.record) for scheduled in page]
            after = page[-1].id

        assert sorted(ids) == list(range(25))

    def test_a_page_says_when_and_whereto(self, broker, clock):
        add(broker, clock, 60, (b"body", b"key", None, None, b"p"), target=b"exchange")

        (scheduled,) = broker.schedule.page()
        assert scheduled.due_ms == clock.now_ms() + 60_000
        assert scheduled.target == b"exchange"
        assert tuple(scheduled.record) == (b"body", b"key", None, None, b"p")

    def test_a_page_goes_on_after_a_bucket_that_is_over(self, broker, clock, advance, firings, wait_until):
        add(broker, clock, 1, b"a")
        add(broker, clock, 500, b"b")
        (first,) = broker.schedule.page(limit=1)
        advance(broker, 200)
        wait_until(lambda: len(broker.schedule._buckets) == 1)

        assert [scheduled.record for scheduled in broker.schedule.page(first.id)] == [b"b"]

    def test_a_cancelled_message_is_never_fired(self, broker, clock, advance, firings, wait_until):
        add(broker, clock, 5, b"a", b"b", b"c")
        page = broker.schedule.page()

        assert broker.schedule.cancel(page[1].id)
        assert not broker.schedule.cancel(page[1].id)
        assert [scheduled.record for scheduled in broker.schedule.page()] == [b"a", b"c"]
        advance(broker, 5)
        wait_until(lambda: len(firings.fired) == 2)
        settle_all(wait_until, broker)

        assert firings.bodies == [b"a", b"c"]

    def test_a_fired_message_cannot_be_cancelled(self, broker, clock, advance, firings, wait_until):
        firings.held = []
        add(broker, clock, 5, b"a")
        (scheduled,) = broker.schedule.page()
        advance(broker, 5)
        wait_until(lambda: firings.held)

        assert not broker.schedule.cancel(scheduled.id)
        firings.held[0](None)
        settle_all(wait_until, broker)
        assert not broker.schedule.cancel(scheduled.id)

    @pytest.mark.parametrize(
        "message_id", ["", "x", "1-2", "1-2-3-4", "-1-2-3", "1-2-x", "99-99-99", "1-2-" + "9" * 5000]
    )
    def test_what_is_no_id_cancels_nothing(self, broker, clock, message_id):
        add(broker, clock, 5, b"a")

        assert not broker.schedule.cancel(message_id)
        assert len(broker.schedule) == 1

    def test_an_offset_that_is_not_there_cancels_nothing(self, broker, clock):
        add(broker, clock, 5, b"a")
        (scheduled,) = broker.schedule.page()

        assert not broker.schedule.cancel(scheduled.id[:-1] + "7")


class TestRestart:
    """What comes back."""

    def test_what_waited_is_fired_after_a_restart(self, make_broker, clock, advance, firings, wait_until):
        storage = MemoryStorage()
        broker = make_broker(storage=storage)
        for delay_s in (700, 10, 5000):
            add(broker, clock, delay_s, b"%d" % delay_s)
        broker.stop(5)

        clock.advance(6000)
        again = make_broker(storage=storage)
        wait_until(lambda: len(firings.fired) == 3)
        settle_all(wait_until, again)

        assert firings.bodies == [b"10", b"700", b"5000"]

    def test_what_was_fired_or_cancelled_is_not_fired_again(self, make_broker, clock, advance, firings, wait_until):
        storage = MemoryStorage()
        broker = make_broker(storage=storage)
        add(broker, clock, 5, b"fired")
        add(broker, clock, 10, b"cancelled", b"waits")
        broker.schedule.cancel(broker.schedule.page()[1].id)
        advance(broker, 5)
        wait_until(lambda: firings.fired)
        broker.stop(5)

        clock.advance(100)
        make_broker(storage=storage)
        wait_until(lambda: len(firings.fired) == 2)

        assert firings.bodies == [b"fired", b"waits"]

    def test_a_stop_waits_for_what_is_being_fired(self, make_broker, clock, advance, firings, wait_until):
        storage = MemoryStorage()
        broker = make_broker(storage=storage)
        firings.held = []
        add(broker, clock, 5, b"a")
        advance(broker, 5)
        wait_until(lambda: firings.held)
        stopping = gevent.spawn(broker.stop, 5)
        gevent.sleep(0)
        firings.held[0](None)
        stopping.get(timeout=10)

        make_broker(storage=storage)
        assert len(firings.fired) == 1

    def test_the_log_of_a_bucket_is_no_topic(self, broker, clock):
        add(broker, clock, 5, b"a")

        assert broker.topics() == []

    def test_a_row_without_its_topic_is_damage(self, make_broker, firings):
        storage = MemoryStorage()
        make_broker(storage=storage).stop(5)
        storage.open()
        for value in (encode_cbor([1, 2]), b"\xff"):
            round_ = Round()
            round_.puts["schedule", bytes(16)] = value
            storage.write(round_)
            storage.close()
            with pytest.raises(CorruptError, match="schedule"):
                make_broker(storage=storage)
            storage.open()
        storage.close()


class FaultyStorage(MemoryStorage):
    """Refuses to write or read while it is told to."""

    def __init__(self):
        super().__init__()
        self.full = None
        self.away = None

    def write(self, round_):
        if self.full is not None:
            raise self.full
        super().write(round_)

    def read(self, log, offset, max_bytes):
        if self.away is not None:
            raise self.away
        return super().read(log, offset, max_bytes)


class TestFaults:
    """Storage that fails, disks that are full, targets that answer strangely."""

    def test_a_cancel_that_cannot_be_stored_is_an_error(self, make_broker, firings, clock, advance, wait_until):
        storage = FaultyStorage()
        broker = make_broker(storage=storage)
        add(broker, clock, 600, b"a")
        (scheduled,) = broker.schedule.page()
        storage.full = StorageFullError("no space left")
        with pytest.raises(StorageFullError):
            broker.schedule.cancel(scheduled.id)
        storage.full = None
        advance(broker, RETRY_S)
        settle_all(wait_until, broker)

    def test_what_is_added_to_a_stopped_broker_is_refused(self, broker, clock):
        add(broker, clock, 600, b"a")
        (bucket,) = broker.schedule._buckets.values()
        broker.stop(5)

        with pytest.raises(ShuttingDownError):
            broker.schedule.add([b"b"], 1, clock.now_ms() + 600_000, b"t", None)
        assert bucket.adding == 0

    def test_a_bucket_that_two_need_first_is_made_once(self, broker, clock, wait_until):
        for body in (b"a", b"b"):
            gevent.spawn(broker.schedule.add, [body], 1, clock.now_ms() + 600_000, b"t", None)
        wait_until(lambda: len(broker.schedule) == 2)

        assert len(broker.schedule._buckets) == 1

    def test_firing_goes_on_when_storage_can_be_read_again(
        self, make_broker, firings, clock, advance, wait_until, caplog
    ):
        storage = FaultyStorage()
        broker = make_broker("--tail-cache-bytes", "1", storage=storage)
        add(broker, clock, 600, b"a")
        add(broker, clock, 600, b"b")
        storage.away = UnavailableError("away")
        advance(broker, 600)
        wait_until(lambda: "schedule waits for storage" in caplog.text)
        storage.away = None
        advance(broker, RETRY_S)
        wait_until(lambda: len(firings.fired) == 2)

    def test_no_more_is_fired_than_is_settled(self, broker, clock, advance, firings, wait_until, monkeypatch):
        monkeypatch.setattr(schedule_module, "MAX_FIRING", 1)
        monkeypatch.setattr(schedule_module, "FIRE_MESSAGES", 1)
        firings.held = []
        add(broker, clock, 5, b"a", b"b")
        advance(broker, 5)
        wait_until(lambda: firings.held)
        gevent.sleep(0.01)
        assert firings.bodies == [b"a"]

        firings.held[0](None)
        wait_until(lambda: len(firings.held) == 2)
        firings.held[1](None)

    def test_an_order_that_is_lost_is_made_again_from_the_log(
        self, make_broker, clock, advance, firings, wait_until, monkeypatch, caplog, tmp_path
    ):
        broker = make_broker("--data-dir", str(tmp_path))
        monkeypatch.setattr(schedule_index, "MEMORY_BYTES", 1)
        monkeypatch.setattr(schedule_index, "CHUNK_BYTES", 3000)
        add(broker, clock, 10, *(b"%d" % number for number in range(50)))
        add(broker, clock, 11, b"50")
        (bucket,) = broker.schedule._buckets.values()
        advance(broker, 8)
        wait_until(lambda: bucket.unscanned == 0)
        bucket._index.write_run()
        # What a disk that fails does.
        file = broker.schedule._spill._current
        os.ftruncate(file._file.fileno(), 0)
        advance(broker, 2)
        wait_until(lambda: "schedule is read again" in caplog.text)
        advance(broker, 2)
        wait_until(lambda: len(firings.fired) == 51)
        settle_all(wait_until, broker)

        assert [int(body) for body in firings.bodies] == list(range(51))

    def test_firing_waits_while_the_order_cannot_be_written(
        self, make_broker, clock, advance, firings, wait_until, monkeypatch, caplog, tmp_path
    ):
        broker = make_broker("--data-dir", str(tmp_path))
        monkeypatch.setattr(schedule_index, "MEMORY_BYTES", 1)
        monkeypatch.setattr(schedule_index, "CHUNK_BYTES", 600)

        def fail(file, data):
            raise OSError(28, "No space left on device")

        add(broker, clock, 10, b"a", b"b", b"c")
        advance(broker, 6)
        (bucket,) = broker.schedule._buckets.values()
        wait_until(lambda: bucket.unscanned == 0)
        with monkeypatch.context() as patch:
            patch.setattr(SpillFile, "write", fail)
            add(broker, clock, 3, b"d")
            wait_until(lambda: "schedule waits for storage" in caplog.text)
        advance(broker, 5)
        wait_until(lambda: len(firings.fired) == 4)

        assert firings.bodies == [b"d", b"a", b"b", b"c"]

    def test_only_what_failed_is_fired_again(self, broker, clock, advance, firings, wait_until):
        fired = []

        def fire(target, records, done):
            fired.append(list(records))
            done(None, [0, 2])
            done(None if len(fired) > 1 else UnavailableError("full"))

        def fire_again(target, records, done):
            fired.append(list(records))
            done(None)

        def first(*arguments):
            broker.schedule._fire = fire_again
            fire(*arguments)

        broker.schedule._fire = first
        add(broker, clock, 5, b"a", b"b", b"c")
        advance(broker, 5)
        settle_all(wait_until, broker)
        wait_until(lambda: fired)
        advance(broker, RETRY_S)
        wait_until(lambda: len(fired) == 2)

        assert fired == [[b"a", b"b", b"c"], [b"b"]]

    def test_what_has_been_answered_before_a_mistake_stays_answered(
        self, broker, clock, advance, firings, wait_until, caplog
    ):
        def fire(target, records, done):
            done(None)
            raise TypeError("mistake")

        broker.schedule._fire = fire
        add(broker, clock, 5, b"a")
        advance(broker, 5)
        wait_until(lambda: "firing failed" in caplog.text)
        settle_all(wait_until, broker)

        assert broker.schedule.fired_total == 1

    def test_what_fails_while_the_order_is_made_again_is_fired_once_more(
        self, broker, clock, advance, firings, wait_until
    ):
        firings.held = []
        add(broker, clock, 5, b"a")
        advance(broker, 5)
        wait_until(lambda: firings.held)
        (bucket,) = broker.schedule._buckets.values()
        bucket._scanned = bucket.settlement.floor
        bucket.unknown_ms = clock.now_ms() + HOUR_MS
        firings.held.pop()(UnavailableError("not now"))
        wait_until(lambda: not bucket.firing.count)
        bucket.unknown_ms = bucket.start_ms
        broker.schedule.wake()
        wait_until(lambda: firings.held)
        firings.held.pop()(None)
        settle_all(wait_until, broker)

        assert firings.bodies == [b"a", b"a"]


class TestDamage:
    """A log that was hurt."""

    def test_a_record_that_is_no_message_keeps_no_other(self, broker, clock, advance, firings, wait_until, caplog):
        add(broker, clock, 600, b"a")
        (bucket,) = broker.schedule._buckets.values()
        broker.append(Append(bucket.partition, [b"broken"], 6, lambda item: None))
        add(broker, clock, 600, b"b")

        assert [scheduled.record for scheduled in broker.schedule.page()] == [b"a", b"b"]
        advance(broker, 600)
        wait_until(lambda: len(firings.fired) == 2)
        assert "scheduled message is damaged" in caplog.text

    def test_a_page_leaves_out_what_is_damaged_or_gone(self, make_broker, firings, clock):
        broker = make_broker("--batch-messages", "1")
        add(broker, clock, 600, b"a", b"b", b"c", b"d", b"e")
        (bucket,) = broker.schedule._buckets.values()
        read = bucket.partition.read_runs

        def read_runs(offset, max_bytes):
            if offset in (1, 4):
                raise CorruptError("damaged")
            return [run for run in read(offset, 1) if run.base_offset != 2]

        bucket.partition.read_runs = read_runs

        assert [scheduled.record for scheduled in broker.schedule.page()] == [b"a"]
        assert [scheduled.record for scheduled in broker.schedule.page(broker.schedule.page()[0].id[:-1] + "2")] == [
            b"d"
        ]

    def test_only_what_is_damaged_is_not_fired(self, make_broker, clock, advance, firings, wait_until, caplog):
        broker = make_broker("--batch-messages", "1")
        add(broker, clock, 600, b"a", b"b", b"c")
        (bucket,) = broker.schedule._buckets.values()
        read = bucket.partition.read_runs

        def read_runs(offset, max_bytes):
            if offset == 1:
                raise CorruptError("damaged")
            return [run for run in read(offset, 1) if run.base_offset != 1]

        bucket.partition.read_runs = read_runs
        advance(broker, 600)
        wait_until(lambda: len(firings.fired) == 2)
        settle_all(wait_until, broker)

        assert firings.bodies == [b"a", b"c"]
        assert "damaged" in caplog.text
        del bucket.partition.read_runs
        assert [decode_records(batch)[0][0] for batch in bucket.partition.read(1, 1)] == [b"b"]

    def test_what_a_repair_took_away_is_not_waited_for(self, make_broker, clock, advance, firings, wait_until):
        broker = make_broker("--batch-messages", "1")
        add(broker, clock, 600, b"a", b"b", b"c")
        (bucket,) = broker.schedule._buckets.values()
        read = bucket.partition.read_runs

        def read_runs(offset, max_bytes):
            return [run for run in read(offset, max_bytes) if run.base_offset != 1]

        bucket.partition.read_runs = read_runs
        advance(broker, 800)
        wait_until(lambda: not broker.schedule._buckets)

        assert firings.bodies == [b"a", b"c"]

    def test_what_is_appended_elsewhere_is_untouched(self, broker, clock, wait_until):
        partition = broker.create_topic("orders").partitions[0]
        answers = []
        broker.append(Append(partition, [b"x"], 1, answers.append))
        add(broker, clock, DAY_MS / 1000, b"a")
        wait_until(lambda: answers)

        assert partition.written_offset == 1
