"""Classes channel, confirm and tx: a channel's life and its modes. Class access asks for what nobody refuses."""

from handlers.amqp.tables.method import method, synchronous

CHANNEL_OPEN = synchronous(
    20,
    10,
    "channel.open",
    """
    out_of_band  short_string
""",
)
CHANNEL_OPEN_OK = method(
    20,
    11,
    "channel.open-ok",
    """
    channel_id  long_string
""",
)
CHANNEL_FLOW = synchronous(
    20,
    20,
    "channel.flow",
    """
    active  bit
""",
)
CHANNEL_FLOW_OK = method(
    20,
    21,
    "channel.flow-ok",
    """
    active  bit
""",
)
CHANNEL_CLOSE = synchronous(
    20,
    40,
    "channel.close",
    """
    reply_code  uint16
    reply_text  short_string
    class_id    uint16        # of the method that is to blame, with the next
    method_id   uint16
""",
)
CHANNEL_CLOSE_OK = method(20, 41, "channel.close-ok")

ACCESS_REQUEST = synchronous(
    30,
    10,
    "access.request",
    """
    realm      short_string  = '/data'
    exclusive  bit
    passive    bit           = true
    active     bit           = true
    write      bit           = true
    read       bit           = true
""",
)
ACCESS_REQUEST_OK = method(
    30,
    11,
    "access.request-ok",
    """
    ticket  uint16  = 1
""",
)

CONFIRM_SELECT = synchronous(
    85,
    10,
    "confirm.select",
    """
    nowait  bit
""",
)
CONFIRM_SELECT_OK = method(85, 11, "confirm.select-ok")

TX_SELECT = synchronous(90, 10, "tx.select")
TX_SELECT_OK = method(90, 11, "tx.select-ok")
TX_COMMIT = synchronous(90, 20, "tx.commit")
TX_COMMIT_OK = method(90, 21, "tx.commit-ok")
TX_ROLLBACK = synchronous(90, 30, "tx.rollback")
TX_ROLLBACK_OK = method(90, 31, "tx.rollback-ok")

METHODS = (
    CHANNEL_OPEN,
    CHANNEL_OPEN_OK,
    CHANNEL_FLOW,
    CHANNEL_FLOW_OK,
    CHANNEL_CLOSE,
    CHANNEL_CLOSE_OK,
    ACCESS_REQUEST,
    ACCESS_REQUEST_OK,
    CONFIRM_SELECT,
    CONFIRM_SELECT_OK,
    TX_SELECT,
    TX_SELECT_OK,
    TX_COMMIT,
    TX_COMMIT_OK,
    TX_ROLLBACK,
    TX_ROLLBACK_OK,
)
