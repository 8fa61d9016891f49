"""Publish and consume with the Python client.

Usage: client.py HOST:PORT
"""

import sys

from portask.client import Client


def main(address="127.0.0.1:7672"):
    with Client(address) as client:
        print("stored as", client.publish("orders", "two books", key="customer-7", headers={"kind": b"note"}))
        for message_id in client.publish_many("orders", [b"three books", b"no books"]):
            print("stored as", message_id)

        with client.subscribe("orders", group="example") as subscription:
            for message in subscription:
                print(message.id, message.payload, message.key, message.headers)
                message.ack()
                if message.payload == b"no books":
                    break

        print("waiting:", client.group("orders", "example")["lag"])


if __name__ == "__main__":
    main(*sys.argv[1:])
