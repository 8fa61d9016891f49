"""Classes exchange and queue: what there is, and what leads where. `ticket` is a remnant that nobody reads."""

from handlers.amqp.tables.method import method, synchronous

EXCHANGE_DECLARE = synchronous(
    40,
    10,
    "exchange.declare",
    """
    ticket       uint16
    exchange     short_string
    type         short_string  = 'direct'
    passive      bit
    durable      bit
    auto_delete  bit
    internal     bit
    nowait       bit
    arguments    table
""",
)
EXCHANGE_DECLARE_OK = method(40, 11, "exchange.declare-ok")
EXCHANGE_DELETE = synchronous(
    40,
    20,
    "exchange.delete",
    """
    ticket     uint16
    exchange   short_string
    if_unused  bit
    nowait     bit
""",
)
EXCHANGE_DELETE_OK = method(40, 21, "exchange.delete-ok")
EXCHANGE_BIND = synchronous(
    40,
    30,
    "exchange.bind",
    """
    ticket       uint16
    destination  short_string
    source       short_string
    routing_key  short_string
    nowait       bit
    arguments    table
""",
)
EXCHANGE_BIND_OK = method(40, 31, "exchange.bind-ok")
EXCHANGE_UNBIND = synchronous(
    40,
    40,
    "exchange.unbind",
    """
    ticket       uint16
    destination  short_string
    source       short_string
    routing_key  short_string
    nowait       bit
    arguments    table
""",
)
EXCHANGE_UNBIND_OK = method(40, 51, "exchange.unbind-ok")  # 51, not 41

QUEUE_DECLARE = synchronous(
    50,
    10,
    "queue.declare",
    """
    ticket       uint16
    queue        short_string
    passive      bit
    durable      bit
    exclusive    bit
    auto_delete  bit
    nowait       bit
    arguments    table
""",
)
QUEUE_DECLARE_OK = method(
    50,
    11,
    "queue.declare-ok",
    """
    queue           short_string
    message_count   uint32        # ready ones
    consumer_count  uint32
""",
)
QUEUE_BIND = synchronous(
    50,
    20,
    "queue.bind",
    """
    ticket       uint16
    queue        short_string
    exchange     short_string
    routing_key  short_string
    nowait       bit
    arguments    table
""",
)
QUEUE_BIND_OK = method(50, 21, "queue.bind-ok")
QUEUE_PURGE = synchronous(
    50,
    30,
    "queue.purge",
    """
    ticket  uint16
    queue   short_string
    nowait  bit
""",
)
QUEUE_PURGE_OK = method(
    50,
    31,
    "queue.purge-ok",
    """
    message_count  uint32
""",
)
QUEUE_DELETE = synchronous(
    50,
    40,
    "queue.delete",
    """
    ticket     uint16
    queue      short_string
    if_unused  bit
    if_empty   bit
    nowait     bit
""",
)
QUEUE_DELETE_OK = method(
    50,
    41,
    "queue.delete-ok",
    """
    message_count  uint32
""",
)
QUEUE_UNBIND = synchronous(
    50,
    50,
    "queue.unbind",
    """
    ticket       uint16
    queue        short_string
    exchange     short_string
    routing_key  short_string
    arguments    table
""",
)
QUEUE_UNBIND_OK = method(50, 51, "queue.unbind-ok")

METHODS = (
    EXCHANGE_DECLARE,
    EXCHANGE_DECLARE_OK,
    EXCHANGE_DELETE,
    EXCHANGE_DELETE_OK,
    EXCHANGE_BIND,
    EXCHANGE_BIND_OK,
    EXCHANGE_UNBIND,
    EXCHANGE_UNBIND_OK,
    QUEUE_DECLARE,
    QUEUE_DECLARE_OK,
    QUEUE_BIND,
    QUEUE_BIND_OK,
    QUEUE_PURGE,
    QUEUE_PURGE_OK,
    QUEUE_DELETE,
    QUEUE_DELETE_OK,
    QUEUE_UNBIND,
    QUEUE_UNBIND_OK,
)
