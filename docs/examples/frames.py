"""CBOR mode with nothing but a socket and the package cbor2.

Usage: frames.py HOST PORT
"""

import socket
import struct
import sys

import cbor2


def main(host="127.0.0.1", port="7672"):
    sock = socket.create_connection((host, int(port)))
    file = sock.makefile("rb")

    def send(*request):
        data = cbor2.dumps(request)
        sock.sendall(struct.pack(">I", len(data)) + data)

    def receive():
        (length,) = struct.unpack(">I", file.read(4))
        return cbor2.loads(file.read(length))

    sock.sendall(b"HELLO cbor name=frames.py\n")
    print(file.readline()[:3])  # a line still; from here on everything is frames

    send("PUBLISH", 1, "orders", [b"one", [b"two", b"customer-7", ["kind", b"note"]]])
    print(receive())
    send("SUBSCRIBE", 2, "orders", "example", 100, "first")
    print(receive())
    settled = 0
    while settled < 2:
        kind, *rest = receive()
        if kind == "MSG":
            topic, group, partition, messages = rest
            for offset, _redeliveries, _timestamp, payload, *_ in messages:
                print(offset, payload)
            send("ACK", 3, topic, group, partition, [[messages[0][0], messages[-1][0]]])
        else:
            print([kind, *rest])
            settled += rest[1]
    send("QUIT", 4)
    print(receive())


if __name__ == "__main__":
    main(*sys.argv[1:])
