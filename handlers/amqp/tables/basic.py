"""Class basic: messages, and the settling of them."""

from handlers.amqp.tables.method import method, synchronous, with_content

BASIC_QOS = synchronous(
    60,
    10,
    "basic.qos",
    """
    prefetch_size   uint32
    prefetch_count  uint16
    global_         bit
""",
)
BASIC_QOS_OK = method(60, 11, "basic.qos-ok")
BASIC_CONSUME = synchronous(
    60,
    20,
    "basic.consume",
    """
    ticket        uint16
    queue         short_string
    consumer_tag  short_string
    no_local      bit
    no_ack        bit
    exclusive     bit
    nowait        bit
    arguments     table
""",
)
BASIC_CONSUME_OK = method(
    60,
    21,
    "basic.consume-ok",
    """
    consumer_tag  short_string
""",
)
BASIC_CANCEL = synchronous(
    60,
    30,
    "basic.cancel",
    """
    consumer_tag  short_string
    nowait        bit
""",
)
BASIC_CANCEL_OK = method(
    60,
    31,
    "basic.cancel-ok",
    """
    consumer_tag  short_string
""",
)
BASIC_PUBLISH = with_content(
    60,
    40,
    "basic.publish",
    """
    ticket       uint16
    exchange     short_string
    routing_key  short_string
    mandatory    bit
    immediate    bit
""",
)
BASIC_RETURN = with_content(
    60,
    50,
    "basic.return",
    """
    reply_code   uint16
    reply_text   short_string
    exchange     short_string
    routing_key  short_string
""",
)
BASIC_DELIVER = with_content(
    60,
    60,
    "basic.deliver",
    """
    consumer_tag  short_string
    delivery_tag  uint64
    redelivered   bit
    exchange      short_string
    routing_key   short_string
""",
)
BASIC_GET = synchronous(
    60,
    70,
    "basic.get",
    """
    ticket  uint16
    queue   short_string
    no_ack  bit
""",
)
BASIC_GET_OK = with_content(
    60,
    71,
    "basic.get-ok",
    """
    delivery_tag   uint64
    redelivered    bit
    exchange       short_string
    routing_key    short_string
    message_count  uint32
""",
)
BASIC_GET_EMPTY = method(
    60,
    72,
    "basic.get-empty",
    """
    cluster_id  short_string
""",
)
BASIC_ACK = method(
    60,
    80,
    "basic.ack",
    """
    delivery_tag  uint64
    multiple      bit
""",
)
BASIC_REJECT = method(
    60,
    90,
    "basic.reject",
    """
    delivery_tag  uint64
    requeue       bit     = true
""",
)
BASIC_RECOVER_ASYNC = method(
    60,
    100,
    "basic.recover-async",
    """
    requeue  bit
""",
)
BASIC_RECOVER = synchronous(
    60,
    110,
    "basic.recover",
    """
    requeue  bit
""",
)
BASIC_RECOVER_OK = method(60, 111, "basic.recover-ok")
BASIC_NACK = method(
    60,
    120,
    "basic.nack",
    """
    delivery_tag  uint64
    multiple      bit
    requeue       bit     = true
""",
)

METHODS = (
    BASIC_QOS,
    BASIC_QOS_OK,
    BASIC_CONSUME,
    BASIC_CONSUME_OK,
    BASIC_CANCEL,
    BASIC_CANCEL_OK,
    BASIC_PUBLISH,
    BASIC_RETURN,
    BASIC_DELIVER,
    BASIC_GET,
    BASIC_GET_OK,
    BASIC_GET_EMPTY,
    BASIC_ACK,
    BASIC_REJECT,
    BASIC_RECOVER_ASYNC,
    BASIC_RECOVER,
    BASIC_RECOVER_OK,
    BASIC_NACK,
)
