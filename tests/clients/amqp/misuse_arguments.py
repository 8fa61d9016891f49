"""Arguments of queues that close the channel with 406; see misuse.py."""

from tests.clients.amqp.misuse import STATE, declare, on_channel

ARGUMENT_ERRORS = {
    "queue argument of the wrong type": on_channel(
        406,
        STATE + "invalid arg 'x-message-ttl' for queue 'Q' in vhost '/': ",
        (50, 10),
        declare("Q", arguments={"x-message-ttl": "long"}),
    ),
    "expiry of a queue at once": on_channel(
        406,
        STATE + "invalid arg 'x-expires' for queue 'Q' in vhost '/': ",
        (50, 10),
        declare("Q", arguments={"x-expires": 0}),
    ),
    "max-length below 0": on_channel(
        406,
        STATE + "invalid arg 'x-max-length' for queue 'Q' in vhost '/': ",
        (50, 10),
        declare("Q", arguments={"x-max-length": -1}),
    ),
    "unknown overflow": on_channel(
        406,
        STATE + "invalid arg 'x-overflow' for queue 'Q' in vhost '/': ",
        (50, 10),
        declare("Q", arguments={"x-overflow": "burst"}),
    ),
    "priorities beyond 255": on_channel(
        406,
        STATE + "invalid arg 'x-max-priority' for queue 'Q' in vhost '/': ",
        (50, 10),
        declare("Q", arguments={"x-max-priority": 256}),
    ),
    "dead letter key without exchange": on_channel(
        406,
        STATE + "invalid arg 'x-dead-letter-routing-key' for queue 'Q' in vhost '/': routing_key_but_no_dlx_defined",
        (50, 10),
        declare("Q", arguments={"x-dead-letter-routing-key": "dead"}),
    ),
    "unknown queue type": on_channel(
        406,
        STATE + "invalid arg 'x-queue-type' for queue 'Q' in vhost '/': ",
        (50, 10),
        declare("Q", arguments={"x-queue-type": "cubic"}),
    ),
    "argument of streams for a classic queue": on_channel(
        406,
        STATE + "invalid arg 'x-max-age' for queue 'Q' in vhost '/' of queue type rabbit_classic_queue",
        (50, 10),
        declare("Q", arguments={"x-max-age": "1D"}),
    ),
    "priorities for a quorum queue": on_channel(
        406,
        STATE + "invalid arg 'x-max-priority' for queue 'Q' in vhost '/' of queue type rabbit_quorum_queue",
        (50, 10),
        declare("Q", arguments={"x-queue-type": "quorum", "x-max-priority": 5}),
    ),
    "quorum queue that is not durable": on_channel(
        406,
        STATE + "invalid property 'non-durable' for queue 'Q' in vhost '/'",
        (50, 10),
        declare("Q", durable=False, arguments={"x-queue-type": "quorum"}),
    ),
    "exclusive stream": on_channel(
        406,
        STATE + "invalid property 'exclusive-owner' for queue 'Q' in vhost '/'",
        (50, 10),
        declare("Q", exclusive=True, arguments={"x-queue-type": "stream"}),
    ),
}
