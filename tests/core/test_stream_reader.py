"""Readers of a stream: cursors, credit, and what they leave alone."""

import gevent
import pytest

from portask.errors import CorruptError, NotInFlightError, ShuttingDownError, UnavailableError, UnknownTopicError
from portask.queues.stream_reader import StreamReader, StreamReaders
from portask.start import Start
from portask.subscriptions.consumer import Consumer


class Reading:
    """A consumer that keeps what it gets."""

    def __init__(self, prefetch=100):
        self.messages = []
        self.cancelled = []
        self.consumer = Consumer(self.take, prefetch, self.cancelled.append)

    def take(self, deliveries):
        for delivery in deliveries:
            self.messages += enumerate(delivery.records, delivery.base_offset)

    @property
    def offsets(self):
        return [offset for offset, _ in self.messages]


@pytest.fixture
def broker(make_broker):
    return make_broker("--batch-messages", "3")


@pytest.fixture
def topic(broker):
    return broker.create_topic("events")


@pytest.fixture
def publish(broker, topic):
    def publish(count, partition=0):
        log = topic.partitions[partition]
        return broker.publish(log, [b"%d" % (log.written_offset + number) for number in range(count)], 3 * count)

    return publish


@pytest.fixture
def readers(topic):
    readers = StreamReaders(topic)
    yield readers
    readers.close()


def attach(readers, start, prefetch=100):
    reading = Reading(prefetch)
    readers.attach(reading.consumer, start)
    return reading


class TestStart:
    """Where reading begins."""

    @pytest.mark.parametrize(
        ("start", "offsets"),
        [
            (Start.FIRST, [0, 1, 2, 3, 4, 5, 6]),
            (Start.LAST, [4, 5, 6]),
            (Start.NEXT, [5, 6]),
            (Start("offset", 2), [2, 3, 4, 5, 6]),
            (Start("offset", 99), [5, 6]),
        ],
    )
    def test_a_reader_begins_where_it_says_and_goes_on(self, readers, publish, wait_until, start, offsets):
        publish(5)
        reading = attach(readers, start)
        publish(2)
        wait_until(lambda: reading.offsets == offsets)

        assert [body for _, body in reading.messages] == [b"%d" % offset for offset in offsets]

    def test_a_reader_begins_at_a_time(self, readers, publish, clock, wait_until):
        publish(3)
        clock.advance(10)
        publish(2)
        reading = attach(readers, Start("timestamp", clock.now_ms()))
        wait_until(lambda: reading.offsets == [3, 4])


class TestCredit:
    """What prefetch and acknowledging do."""

    def test_no_more_than_prefetch_is_in_flight(self, readers, publish, wait_until):
        publish(10)
        reading = attach(readers, Start.FIRST, prefetch=4)
        wait_until(lambda: reading.offsets == [0, 1, 2, 3])
        assert readers.in_flight == 4

        readers.ack(reading.consumer, 0, 0, 1)
        wait_until(lambda: reading.offsets == [0, 1, 2, 3, 4, 5])

    def test_messages_are_acknowledged_in_any_order(self, readers, publish, wait_until):
        publish(10)
        reading = attach(readers, Start.FIRST, prefetch=2)
        wait_until(lambda: len(reading.messages) == 2)
        readers.ack(reading.consumer, 0, 1, 1)
        wait_until(lambda: reading.offsets == [0, 1, 2])

    def test_what_is_not_in_flight_cannot_be_acknowledged(self, readers, publish, wait_until):
        publish(3)
        reading = attach(readers, Start.FIRST)
        wait_until(lambda: len(reading.messages) == 3)

        for partition, first, last in ((0, 2, 3), (1, 0, 0), (0, 2, 1)):
            with pytest.raises(NotInFlightError):
                readers.ack(reading.consumer, partition, first, last)
        readers.ack(reading.consumer, 0, 0, 2)
        assert reading.consumer.in_flight == 0

    def test_a_paused_consumer_gets_nothing(self, readers, publish, wait_until):
        reading = attach(readers, Start.FIRST)
        other = attach(readers, Start.FIRST)
        reading.consumer.pause()
        publish(3)
        wait_until(lambda: len(other.messages) == 3)
        assert reading.messages == []

        reading.consumer.resume()
        wait_until(lambda: len(reading.messages) == 3)

    def test_a_consumer_that_left_may_still_acknowledge(self, readers, publish, wait_until):
        publish(3)
        reading = attach(readers, Start.FIRST)
        wait_until(lambda: len(reading.messages) == 3)
        readers.leave(reading.consumer)
        readers.ack(reading.consumer, 0, 0, 0)
        assert readers.in_flight == 2

        readers.release(reading.consumer)
        assert readers.in_flight == reading.consumer.in_flight == 0


class TestReading:
    """What is read, and by whom."""

    def test_every_reader_gets_every_message(self, readers, publish, wait_until):
        publish(1000)
        readings = [attach(readers, Start.FIRST, prefetch=0) for _ in range(5)]
        for reading in readings:
            wait_until(lambda reading=reading: reading.offsets == list(range(1000)))

    def test_reading_takes_nothing_from_the_log(self, readers, publish, topic, wait_until):
        publish(10)
        reading = attach(readers, Start.FIRST)
        wait_until(lambda: len(reading.messages) == 10)
        readers.ack(reading.consumer, 0, 0, 9)
        again = attach(readers, Start.FIRST)
        wait_until(lambda: len(again.messages) == 10)

        assert topic.partitions[0].log_start_offset == 0

    def test_only_what_is_durable_is_delivered(self, readers, topic, publish, wait_until):
        publish(3)
        partition = topic.partitions[0]
        partition.high_watermark = 2
        reading = attach(readers, Start.FIRST)
        wait_until(lambda: reading.offsets == [0, 1])

        partition.synced(3)
        wait_until(lambda: reading.offsets == [0, 1, 2])

    def test_a_reader_that_retention_has_overtaken_goes_on_at_the_start(self, readers, topic, publish, wait_until):
        publish(9)
        reading = attach(readers, Start.FIRST, prefetch=1)
        wait_until(lambda: reading.messages)
        topic.partitions[0].trimmed(6)
        readers.ack(reading.consumer, 0, 0, 0)
        wait_until(lambda: len(reading.messages) == 2)

        assert reading.offsets == [0, 6]

    def test_all_partitions_of_a_topic_are_read(self, broker, wait_until):
        topic = broker.create_topic("wide", 3)
        for number, partition in enumerate(topic.partitions):
            broker.publish(partition, [b"%d" % number] * 2, 2)
        readers = StreamReaders(topic)
        reading = attach(readers, Start.FIRST)
        wait_until(lambda: len(reading.messages) == 6)
        readers.close()

        assert sorted(body for _, body in reading.messages) == [b"0", b"0", b"1", b"1", b"2", b"2"]

    def test_a_reader_waits_while_storage_is_unavailable(self, readers, topic, publish, wait_until, monkeypatch):
        monkeypatch.setattr("portask.queues.stream_reader.RETRY_S", 0.001)
        publish(3)
        partition = topic.partitions[0]
        tries = []

        def refuse(offset, max_bytes):
            tries.append(offset)
            if len(tries) == 2:
                del partition.read_runs
            raise UnavailableError("away")

        partition.read_runs = refuse
        reading = attach(readers, Start.FIRST)
        wait_until(lambda: len(reading.messages) == 3)

    def test_a_reader_says_how_much_follows(self, broker, topic, publish, wait_until):
        publish(5)
        reading = Reading(2)
        reader = StreamReader(topic, reading.consumer, Start.FIRST)
        wait_until(lambda: len(reading.messages) == 2)

        assert reader.lag == 3
        reader.stop()
        reader.stop()

    def test_where_compaction_left_nothing_up_to_the_end_reading_goes_on_behind(
        self, readers, topic, publish, wait_until
    ):
        publish(3)
        partition = topic.partitions[0]
        read = partition.read_runs
        partition.read_runs = lambda offset, max_bytes: [] if offset < 3 else read(offset, max_bytes)
        reading = attach(readers, Start.FIRST)
        publish(1)
        wait_until(lambda: reading.messages)
        del partition.read_runs

        assert reading.offsets == [3]

    def test_what_is_not_durable_behind_a_gap_is_waited_for(self, readers, topic, publish, wait_until):
        publish(6)
        partition = topic.partitions[0]
        partition.high_watermark = 3
        read = partition.read_runs
        # As after compaction: what is at the first three offsets is gone.
        partition.read_runs = lambda offset, max_bytes: read(max(offset, 3), max_bytes)
        reading = attach(readers, Start.FIRST)
        wait_until(lambda: not readers._readers[reading.consumer].lag)
        assert reading.messages == []

        partition.synced(6)
        wait_until(lambda: reading.offsets == [3, 4, 5])
        del partition.read_runs

    def test_a_consumer_that_is_paused_while_its_messages_are_read_gets_them_later(
        self, readers, topic, publish, wait_until
    ):
        publish(3)
        partition = topic.partitions[0]
        read = partition.read_runs
        reading = Reading()

        def read_runs(offset, max_bytes):
            reading.consumer.pause()
            return read(offset, max_bytes)

        partition.read_runs = read_runs
        readers.attach(reading.consumer, Start.FIRST)
        wait_until(lambda: reading.consumer.paused)
        del partition.read_runs
        assert reading.messages == []

        reading.consumer.resume()
        wait_until(lambda: reading.offsets == [0, 1, 2])

    def test_others_have_their_turn_while_much_is_delivered(self, readers, publish, wait_until, monkeypatch):
        monkeypatch.setattr("portask.queues.stream_reader.YIELD_MESSAGES", 2)
        publish(9)
        reading = attach(readers, Start.FIRST)
        wait_until(lambda: reading.offsets == list(range(9)))

    def test_damage_cancels_the_consumer_that_meets_it(self, readers, topic, publish, wait_until):
        publish(3)
        error = CorruptError("damaged")

        def fail(offset, max_bytes):
            raise error

        topic.partitions[0].read_runs = fail
        reading = attach(readers, Start.FIRST)
        wait_until(lambda: reading.cancelled == [error])

        assert readers.consumers == []

    def test_a_mistake_is_told_and_logged(self, readers, publish, wait_until, caplog):
        publish(3)
        reading = Reading()
        reading.consumer.deliver = lambda deliveries: deliveries.missing
        readers.attach(reading.consumer, Start.FIRST)
        wait_until(lambda: reading.cancelled)

        assert "stream reader failed" in caplog.text


class TestEnd:
    """How it ends."""

    def test_a_consumer_that_left_gets_nothing_more(self, readers, publish, wait_until):
        reading, other = attach(readers, Start.FIRST), attach(readers, Start.FIRST)
        readers.leave(reading.consumer)
        readers.leave(reading.consumer)
        publish(3)
        wait_until(lambda: len(other.messages) == 3)

        assert reading.messages == []
        assert readers.consumers == [other.consumer]

    def test_a_consumer_may_leave_while_it_gets_something(self, readers, publish, wait_until):
        reading = Reading()

        def take(deliveries):
            reading.take(deliveries)
            readers.leave(reading.consumer)

        reading.consumer.deliver = take
        readers.attach(reading.consumer, Start.FIRST)
        publish(1)
        wait_until(lambda: reading.messages)
        publish(1)
        gevent.sleep(0)

        assert reading.offsets == [0]

    def test_a_consumer_that_left_while_its_messages_were_read_gets_none(self, topic, readers, publish, wait_until):
        publish(1)
        reading = Reading()
        read_runs, reads = topic.partitions[0].read_runs, []

        def leave_and_read(*arguments):
            readers.leave(reading.consumer)
            reads.append(read_runs(*arguments))
            return reads[-1]

        topic.partitions[0].read_runs = leave_and_read
        readers.attach(reading.consumer, Start.FIRST)
        wait_until(lambda: reads)
        gevent.sleep(0)

        assert reading.messages == []

    def test_a_deleted_stream_cancels_its_consumers(self, readers, wait_until):
        reading = attach(readers, Start.FIRST)
        error = UnknownTopicError("gone")
        readers.cancel(error)

        assert reading.cancelled == [error]
        with pytest.raises(UnknownTopicError):
            attach(readers, Start.FIRST)

    def test_a_broker_that_stops_cancels_without_an_error(self, readers):
        reading = attach(readers, Start.FIRST)
        readers.close()
        readers.close()

        assert reading.cancelled == [None]
        with pytest.raises(ShuttingDownError):
            attach(readers, Start.FIRST)

    def test_nobody_is_attached_to_what_ended_meanwhile(self, readers, topic):
        topic.partitions[0].find_time = lambda timestamp: readers.close() or 0

        with pytest.raises(ShuttingDownError):
            attach(readers, Start("timestamp", 0))


class TestQueue:
    """Readers as a queue has them."""

    @pytest.fixture
    def stream(self, broker):
        queues = broker.virtual_hosts.get("/").queues
        return queues.declare(
            "s", durable=True, exclusive=False, auto_delete=False, arguments={"x-queue-type": "stream"}, owner=None
        )

    def test_a_stream_feeds_its_consumers_from_where_they_say(self, stream, wait_until):
        answers = []
        stream.publish([b"a", b"b", b"c"], 3, answers.append)
        wait_until(lambda: answers)
        first, next_ = Reading(prefetch=2), Reading()
        stream.consume(first.consumer, start=Start.FIRST)
        stream.consume(next_.consumer)
        wait_until(lambda: first.offsets == [0, 1])
        stream.publish([b"d"], 1, None)
        wait_until(lambda: next_.offsets == [3])

        assert (stream.consumer_count, stream.unacked, stream.ready) == (2, 3, 4)

    @pytest.mark.parametrize("settle", ["ack", "reject", "requeue"])
    def test_to_settle_gives_credit_and_nothing_else(self, stream, wait_until, settle):
        stream.publish([b"a", b"b", b"c"], 3, None)
        reading = Reading(prefetch=1)
        stream.consume(reading.consumer, start=Start.FIRST)
        wait_until(lambda: reading.offsets == [0])
        getattr(stream, settle)(reading.consumer, 0, 0, 0)
        wait_until(lambda: reading.offsets == [0, 1])

        assert stream.ready == 3

    def test_a_cancelled_consumer_is_fed_no_more(self, stream, wait_until):
        reading, other = Reading(), Reading()
        stream.consume(reading.consumer)
        stream.consume(other.consumer)
        stream.cancel(reading.consumer)
        stream.release(reading.consumer)
        stream.publish([b"a"], 1, None)
        wait_until(lambda: other.messages)

        assert reading.messages == []

    def test_deleting_a_stream_cancels_its_consumers(self, broker, stream, wait_until):
        reading = Reading()
        stream.consume(reading.consumer)
        broker.virtual_hosts.get("/").queues.delete(stream, owner=None)

        assert [type(error) for error in reading.cancelled] == [UnknownTopicError]

    def test_retention_takes_what_is_too_old(self, broker, clock, wait_until):
        queues = broker.virtual_hosts.get("/").queues
        stream = queues.declare(
            "name of no topic",
            durable=True,
            exclusive=False,
            auto_delete=False,
            arguments={"x-queue-type": "stream", "x-max-age": "1h"},
            owner=None,
        )
        answers = []
        stream.publish([b"old"], 3, answers.append)
        wait_until(lambda: answers)
        clock.advance(3601)
        stream.publish([b"new"], 3, answers.append)
        wait_until(lambda: len(answers) == 2)
        broker.retention.apply()

        assert stream.topic.partitions[0].log_start_offset == 1
