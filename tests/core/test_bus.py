"""The bus: bounded in bytes, and honest when it closes."""

import gevent
import pytest

from portask.bus import Append, Bus, Change
from portask.errors import ShuttingDownError, UnavailableError


def append(size):
    return Append(None, [b""], size, lambda item: None)


def change():
    return Change(lambda round_: None, lambda item: None)


def test_items_come_out_in_order_all_at_once():
    bus = Bus(100, 1)
    items = [append(1), change(), append(2)]
    for item in items:
        bus.put(item)

    assert bus.take() == items


def test_what_is_put_together_comes_out_together_and_says_so():
    bus = Bus(100, 1)
    items = [append(1), change(), append(2)]
    bus.put(change())
    bus.put_all(items)

    assert bus.used_bytes == 3
    taken = bus.take()
    assert taken[1:] == items
    assert [item.is_joined for item in taken] == [False, False, True, True]


def test_a_publisher_waits_while_the_bus_is_full(wait_until):
    bus = Bus(100, 10)
    bus.put(append(100))
    waiting = gevent.spawn(bus.put, append(1))
    wait_until(lambda: bus.waits == 1)
    assert not waiting.ready()

    bus.release(100)

    waiting.get(timeout=5)


def test_who_waits_for_room_gets_it_before_a_newcomer(wait_until):
    bus = Bus(100, 10)
    bus.put(append(100))
    first, newcomer = append(100), append(100)
    waiting = gevent.spawn(bus.put, first)
    wait_until(lambda: bus.waits == 1)

    bus.release(100)
    late = gevent.spawn(bus.put, newcomer)
    # What comes in the turn of the one who made room is before anyone who waits is awake.
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.01):
        bus.put(append(100))
    waiting.get(timeout=5)
    bus.release(100)
    late.get(timeout=5)

    assert bus.take()[1:] == [first, newcomer]


def test_bytes_are_held_until_they_are_released_not_until_they_are_taken():
    bus = Bus(100, 0.01)
    bus.put(append(100))
    bus.take()

    with pytest.raises(UnavailableError, match="retry"):
        bus.put(append(1))


def test_a_change_goes_in_when_the_bus_is_full():
    bus = Bus(100, 0.01)
    bus.put(append(100))
    bus.put(change())

    assert len(bus) == 2


def test_an_item_larger_than_the_bus_goes_in_when_there_is_room_at_all():
    bus = Bus(100, 0.01)
    bus.put(append(1000))

    assert bus.used_bytes == 1000


def test_a_closed_bus_takes_nothing_new_and_gives_what_it_has():
    bus = Bus(100, 1)
    item = append(1)
    bus.put(item)
    bus.close()
    bus.close()

    with pytest.raises(ShuttingDownError):
        bus.put(append(1))
    assert bus.take() == [item]
    assert bus.take() == []
    assert bus.used_bytes == 1


def test_closing_wakes_a_publisher_that_waits(wait_until):
    bus = Bus(100, 10)
    bus.put(append(100))
    waiting = gevent.spawn(bus.put, append(1))
    wait_until(lambda: bus.waits == 1)

    bus.close()

    with pytest.raises(ShuttingDownError):
        waiting.get(timeout=5)


def test_closing_wakes_the_batcher():
    bus = Bus(100, 10)
    batcher = gevent.spawn(bus.take)
    gevent.idle()

    bus.close()

    assert batcher.get(timeout=5) == []


def test_take_more_does_not_wait():
    bus = Bus(100, 10)

    assert bus.take_more() == []
