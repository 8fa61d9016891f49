"""What a broker does with logs that no topic's row names any more."""

from portask.storage.base import Append, Round
from portask.storage.memory import MemoryStorage


def test_a_new_topic_never_takes_over_a_log_whose_row_was_lost(make_broker):
    storage = MemoryStorage()
    storage.open()
    round_ = Round()
    for log in range(1, 8):
        round_.appends.append(Append(log, 0, 1, 0, [b"frame"]))
    storage.write(round_)
    storage.sync()

    topic = make_broker(storage=storage).create_topic("orders")

    assert topic.partitions[0].high_watermark == 0
