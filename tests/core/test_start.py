"""Where a subscription begins: what can be said, and where that is in a log."""

import pytest

from portask.errors import UsageError
from portask.storage.base import Round
from portask.subscriptions.subscription import Start


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("first", Start.FIRST),
        ("last", Start.LAST),
        ("next", Start.NEXT),
        ("17", Start("offset", 17)),
        ("@1700000000000", Start("timestamp", 1_700_000_000_000)),
        ("@2026-11-23T10:00:00Z", Start("timestamp", 1_795_428_000_000)),
        ("@2026-11-23T12:00:00+02:00", Start("timestamp", 1_795_428_000_000)),
        ("@2026-11-23T10:00:00.250", Start("timestamp", 1_795_428_000_250)),
    ],
)
def test_every_way_to_say_it_is_understood(text, start):
    assert Start.parse(text) == start


@pytest.mark.parametrize(
    "text",
    [
        "",
        "FIRST",
        "-1",
        "+1",
        "1_0",
        "\u0661",
        "9" * 19,
        "@",
        "@-5",
        "@yesterday",
        "@1969-12-31T00:00:00Z",
        "@" + "9" * 19,
    ],
)
def test_anything_else_is_refused_with_what_would_do(text):
    with pytest.raises(UsageError, match="say first, last, next"):
        Start.parse(text)


@pytest.mark.parametrize("text", ["first", "last", "next", "17", "@1700000000000"])
def test_it_is_written_as_it_is_read(text):
    assert str(Start.parse(text)) == text


@pytest.fixture
def partition(broker, clock):
    """A log of offsets 2 to 5, one message a second, of which 0 and 1 were trimmed."""
    partition = broker.create_topic("orders", 1).partitions[0]
    for _ in range(6):
        broker.publish(partition, [b"x"], 1)
        clock.advance(1)
    round_ = Round()
    round_.trims[partition.log] = 2
    broker.storage.write(round_)
    partition.trimmed(2)
    return partition


@pytest.mark.parametrize(
    ("start", "offset"),
    [
        (Start.FIRST, 2),
        (Start.LAST, 5),
        (Start.NEXT, 6),
        (Start("offset", 4), 4),
        (Start("offset", 1), 2),
        (Start("offset", 99), 6),
        (Start("timestamp", 0), 2),
        (Start("timestamp", 1_700_000_003_500), 4),
        (Start("timestamp", 1_800_000_000_000), 6),
    ],
)
def test_it_is_found_in_the_log(partition, start, offset):
    assert start.offset_in(partition) == offset


@pytest.mark.parametrize("start", [Start.FIRST, Start.LAST, Start.NEXT, Start("offset", 3)])
def test_an_empty_log_has_one_place_only(broker, start):
    assert start.offset_in(broker.create_topic("orders", 1).partitions[0]) == 0
