"""Class connection: from the first word to the last, and what the broker says between."""

from handlers.amqp.tables.method import method, synchronous

CONNECTION_START = synchronous(
    10,
    10,
    "connection.start",
    """
    version_major      uint8
    version_minor      uint8        = 9
    server_properties  table
    mechanisms         long_string  = b'PLAIN'  # separated by spaces
    locales            long_string  = b'en_US'
""",
)
CONNECTION_START_OK = method(
    10,
    11,
    "connection.start-ok",
    """
    client_properties  table
    mechanism          short_string  = 'PLAIN'
    response           long_string
    locale             short_string  = 'en_US'
""",
)
CONNECTION_SECURE = synchronous(
    10,
    20,
    "connection.secure",
    """
    challenge  long_string
""",
)
CONNECTION_SECURE_OK = method(
    10,
    21,
    "connection.secure-ok",
    """
    response  long_string
""",
)
CONNECTION_TUNE = synchronous(
    10,
    30,
    "connection.tune",
    """
    channel_max  uint16
    frame_max    uint32
    heartbeat    uint16  # seconds
""",
)
CONNECTION_TUNE_OK = method(
    10,
    31,
    "connection.tune-ok",
    """
    channel_max  uint16
    frame_max    uint32
    heartbeat    uint16
""",
)
CONNECTION_OPEN = synchronous(
    10,
    40,
    "connection.open",
    """
    virtual_host  short_string  = '/'
    capabilities  short_string
    insist        bit
""",
)
CONNECTION_OPEN_OK = method(
    10,
    41,
    "connection.open-ok",
    """
    known_hosts  short_string
""",
)
CONNECTION_CLOSE = synchronous(
    10,
    50,
    "connection.close",
    """
    reply_code  uint16
    reply_text  short_string
    class_id    uint16        # of the method that is to blame, with the next
    method_id   uint16
""",
)
CONNECTION_CLOSE_OK = method(10, 51, "connection.close-ok")
CONNECTION_BLOCKED = method(
    10,
    60,
    "connection.blocked",
    """
    reason  short_string
""",
)
CONNECTION_UNBLOCKED = method(10, 61, "connection.unblocked")
CONNECTION_UPDATE_SECRET = synchronous(
    10,
    70,
    "connection.update-secret",
    """
    new_secret  long_string
    reason      short_string
""",
)
CONNECTION_UPDATE_SECRET_OK = method(10, 71, "connection.update-secret-ok")

METHODS = (
    CONNECTION_START,
    CONNECTION_START_OK,
    CONNECTION_SECURE,
    CONNECTION_SECURE_OK,
    CONNECTION_TUNE,
    CONNECTION_TUNE_OK,
    CONNECTION_OPEN,
    CONNECTION_OPEN_OK,
    CONNECTION_CLOSE,
    CONNECTION_CLOSE_OK,
    CONNECTION_BLOCKED,
    CONNECTION_UNBLOCKED,
    CONNECTION_UPDATE_SECRET,
    CONNECTION_UPDATE_SECRET_OK,
)
