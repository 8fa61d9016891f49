"""Misuse that closes the channel: what is done -> code, text, and the method that is blamed.

The name Q stands for one that nothing has.
"""

from typing import NamedTuple

from pamqp.body import ContentBody
from pamqp.commands import Basic, Confirm, Exchange, Queue, Tx
from pamqp.header import ContentHeader

FOUND = "NOT_FOUND - no {} '{}' in vhost '/'"
RESERVED = "ACCESS_REFUSED - {} name '{}' contains reserved prefix 'amq.*'"
DEFAULT = "ACCESS_REFUSED - operation not permitted on the default exchange"
STATE = "PRECONDITION_FAILED - "


class Misuse(NamedTuple):
    """One row: frames to send on an open channel, and the answer."""

    frames: tuple
    what: str
    code: int
    text: str
    method: tuple[int, int]


def on_channel(code, text, method, *frames):
    return Misuse(frames, "channel", code, text, method)


def on_connection(code, text, method, *frames):
    return Misuse(frames, "connection", code, text, method)


def declare(queue, **fields):
    return Queue.Declare(queue=queue, **{"durable": True, **fields})


def message(body=b"hello", size=None, **fields):
    """The frames of one message."""
    properties = fields.pop("properties", None) or Basic.Properties()
    return Basic.Publish(**fields), ContentHeader(0, len(body) if size is None else size, properties), ContentBody(body)


CHANNEL_ERRORS = {
    "publish to an exchange that is not there": on_channel(
        404, FOUND.format("exchange", "nowhere"), (60, 40), *message(exchange="nowhere")
    ),
    "publish to an internal exchange": on_channel(
        403,
        "ACCESS_REFUSED - cannot publish to internal exchange 'Q' in vhost '/'",
        (60, 40),
        Exchange.Declare(exchange="Q", exchange_type="fanout", internal=True, auto_delete=True),
        *message(exchange="Q"),
    ),
    "expiration that is no number": on_channel(
        406,
        STATE + "invalid expiration 'soon': ",
        (60, 40),
        *message(properties=Basic.Properties(expiration="soon")),
    ),
    "expiration below 0": on_channel(
        406,
        STATE + "invalid expiration '-1': ",
        (60, 40),
        *message(properties=Basic.Properties(expiration="-1")),
    ),
    "expiration with a tail": on_channel(
        406,
        STATE + "invalid expiration '10s': ",
        (60, 40),
        *message(properties=Basic.Properties(expiration="10s")),
    ),
    "CC that is no array": on_channel(
        406,
        STATE,
        (60, 40),
        *message(properties=Basic.Properties(headers={"CC": "orders"})),
    ),
    "user id of another": on_channel(
        406,
        STATE + "user_id property set to 'admin' but authenticated user was 'guest'",
        (60, 40),
        *message(properties=Basic.Properties(user_id="admin")),
    ),
    "passive declare of a queue that is not there": on_channel(
        404, FOUND.format("queue", "nowhere"), (50, 10), declare("nowhere", passive=True)
    ),
    "passive declare of an exchange that is not there": on_channel(
        404, FOUND.format("exchange", "nowhere"), (40, 10), Exchange.Declare(exchange="nowhere", passive=True)
    ),
    "get from a queue that is not there": on_channel(
        404, FOUND.format("queue", "nowhere"), (60, 70), Basic.Get(queue="nowhere")
    ),
    "consume a queue that is not there": on_channel(
        404, FOUND.format("queue", "nowhere"), (60, 20), Basic.Consume(queue="nowhere")
    ),
    "purge a queue that is not there": on_channel(
        404, FOUND.format("queue", "nowhere"), (50, 30), Queue.Purge(queue="nowhere")
    ),
    "bind a queue that is not there": on_channel(
        404, FOUND.format("queue", "nowhere"), (50, 20), Queue.Bind(queue="nowhere", exchange="amq.direct")
    ),
    "bind to an exchange that is not there": on_channel(
        404,
        FOUND.format("exchange", "nowhere"),
        (50, 20),
        declare("Q"),
        Queue.Bind(queue="Q", exchange="nowhere"),
    ),
    "bind an exchange that is not there": on_channel(
        404,
        FOUND.format("exchange", "nowhere"),
        (40, 30),
        Exchange.Bind(destination="nowhere", source="amq.fanout"),
    ),
    "redeclare a queue as not durable": on_channel(
        406,
        STATE + "inequivalent arg 'durable' for queue 'Q' in vhost '/': received 'false' but current is 'true'",
        (50, 10),
        declare("Q"),
        declare("Q", durable=False),
    ),
    "redeclare a queue with auto-delete": on_channel(
        406,
        STATE + "inequivalent arg 'auto_delete' for queue 'Q' in vhost '/': received 'true' but current is 'false'",
        (50, 10),
        declare("Q"),
        declare("Q", auto_delete=True),
    ),
    "redeclare a queue with an argument": on_channel(
        406,
        STATE + "inequivalent arg 'x-message-ttl' for queue 'Q' in vhost '/': received the value '1000' of type '",
        (50, 10),
        declare("Q"),
        declare("Q", arguments={"x-message-ttl": 1000}),
    ),
    "redeclare a queue without its argument": on_channel(
        406,
        STATE + "inequivalent arg 'x-max-length' for queue 'Q' in vhost '/': received none but current is the value "
        "'5' of type '",
        (50, 10),
        declare("Q", arguments={"x-max-length": 5}),
        declare("Q"),
    ),
    "redeclare an exchange of another type": on_channel(
        406,
        STATE + "inequivalent arg 'type' for exchange 'amq.topic' in vhost '/': received 'fanout' "
        "but current is 'topic'",
        (40, 10),
        Exchange.Declare(exchange="amq.topic", exchange_type="fanout", durable=True),
    ),
    "redeclare an exchange as not durable": on_channel(
        406,
        STATE + "inequivalent arg 'durable' for exchange 'amq.topic' in vhost '/': received 'false' "
        "but current is 'true'",
        (40, 10),
        Exchange.Declare(exchange="amq.topic", exchange_type="topic", durable=False),
    ),
    "second consumer beside an exclusive one": on_channel(
        403,
        "ACCESS_REFUSED - queue 'Q' in vhost '/' in exclusive use",
        (60, 20),
        declare("Q"),
        Basic.Consume(queue="Q", exclusive=True, consumer_tag="one"),
        Basic.Consume(queue="Q", consumer_tag="two"),
    ),
    "exclusive consumer beside another": on_channel(
        403,
        "ACCESS_REFUSED - queue 'Q' in vhost '/' in exclusive use",
        (60, 20),
        declare("Q"),
        Basic.Consume(queue="Q", consumer_tag="one"),
        Basic.Consume(queue="Q", consumer_tag="two", exclusive=True),
    ),
    "ack of an unknown tag": on_channel(406, STATE + "unknown delivery tag 7", (60, 80), Basic.Ack(7)),
    "nack of an unknown tag": on_channel(406, STATE + "unknown delivery tag 7", (60, 120), Basic.Nack(7)),
    "reject of an unknown tag": on_channel(406, STATE + "unknown delivery tag 7", (60, 90), Basic.Reject(7)),
    "declare the default exchange": on_channel(
        403, DEFAULT, (40, 10), Exchange.Declare(exchange="", exchange_type="direct", durable=True)
    ),
    "delete the default exchange": on_channel(403, DEFAULT, (40, 20), Exchange.Delete(exchange="")),
    "bind to the default exchange": on_channel(
        403, DEFAULT, (50, 20), declare("Q"), Queue.Bind(queue="Q", exchange="", routing_key="x")
    ),
    "unbind from the default exchange": on_channel(
        403, DEFAULT, (50, 50), declare("Q"), Queue.Unbind(queue="Q", exchange="", routing_key="Q")
    ),
    "declare a queue with the reserved prefix": on_channel(
        403, RESERVED.format("queue", "amq.mine"), (50, 10), declare("amq.mine")
    ),
    "declare an exchange with the reserved prefix": on_channel(
        403,
        RESERVED.format("exchange", "amq.mine"),
        (40, 10),
        Exchange.Declare(exchange="amq.mine", exchange_type="direct"),
    ),
    "delete a predeclared exchange": on_channel(
        403,
        "ACCESS_REFUSED - deletion of system exchange 'amq.topic' in vhost '/' not allowed",
        (40, 20),
        Exchange.Delete(exchange="amq.topic"),
    ),
    "consumer priority that is no number": on_channel(
        406,
        STATE + "invalid arg 'x-priority' for",
        (60, 20),
        declare("Q"),
        Basic.Consume(queue="Q", arguments={"x-priority": "high"}),
    ),
    "delete a queue that is in use": on_channel(
        406,
        STATE + "queue 'Q' in vhost '/' in use",
        (50, 40),
        declare("Q"),
        Basic.Consume(queue="Q"),
        Queue.Delete(queue="Q", if_unused=True),
    ),
    "delete an exchange that is in use": on_channel(
        406,
        STATE + "exchange 'Q' in vhost '/' in use",
        (40, 20),
        Exchange.Declare(exchange="Q", exchange_type="fanout"),
        declare("Q"),
        Queue.Bind(queue="Q", exchange="Q"),
        Exchange.Delete(exchange="Q", if_unused=True),
    ),
    "empty queue name before any declare": on_channel(
        404, "NOT_FOUND - no previously declared queue", (60, 70), Basic.Get(queue="")
    ),
    "tx.select on a channel with confirms": on_channel(
        406, STATE + "cannot switch from confirm to tx mode", (90, 10), Confirm.Select(), Tx.Select()
    ),
    "confirm.select on a channel with transactions": on_channel(
        406, STATE + "cannot switch from tx to confirm mode", (85, 10), Tx.Select(), Confirm.Select()
    ),
    "commit without select": on_channel(406, STATE + "channel is not transactional", (90, 20), Tx.Commit()),
    "rollback without select": on_channel(406, STATE + "channel is not transactional", (90, 30), Tx.Rollback()),
    "reply-to without a consumer": on_channel(
        406,
        STATE + "fast reply consumer does not exist",
        (60, 40),
        *message(properties=Basic.Properties(reply_to="amq.rabbitmq.reply-to")),
    ),
    "reply-to consumer that acknowledges": on_channel(
        406,
        STATE + "reply consumer cannot acknowledge",
        (60, 20),
        Basic.Consume(queue="amq.rabbitmq.reply-to"),
    ),
    "second reply-to consumer": on_channel(
        406,
        STATE + "reply consumer already set",
        (60, 20),
        Basic.Consume(queue="amq.rabbitmq.reply-to", consumer_tag="one", no_ack=True),
        Basic.Consume(queue="amq.rabbitmq.reply-to", consumer_tag="two", no_ack=True),
    ),
    "reply-to queue that nobody has": on_channel(
        404,
        "NOT_FOUND - no queue 'amq.rabbitmq.reply-to.nobody' in vhost '/'",
        (50, 10),
        declare("amq.rabbitmq.reply-to.nobody", passive=True),
    ),
}
