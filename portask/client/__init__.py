"""The Python client of Portask's own protocol.

    with Client("127.0.0.1:7672") as client:
        print(client.publish("orders", b"one"))             # orders/0/0
        with client.subscribe("orders", group="billing") as subscription:
            for message in subscription:
                print(message.payload)
                message.ack()

Plain blocking sockets: it works in threads, and in greenlets where gevent has patched the standard
library. A Client may be shared, its requests take turns; a Subscription has a connection of its own and
belongs to one thread.

Publishing is at least once: it returns when the message is as safe as the server is configured to make
it, and what was not confirmed when a connection broke is sent again. So is consuming: what was not
acknowledged, or whose ack was lost, is delivered again.
"""

from portask.client.client import Client, Page
from portask.client.subscription import ReceivedMessage, Subscription
from portask.client.wire import ClientError, ConnectionLostError
from portask.message import Message

__all__ = ["Client", "ClientError", "ConnectionLostError", "Message", "Page", "ReceivedMessage", "Subscription"]
