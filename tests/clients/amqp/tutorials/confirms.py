"""Publisher confirms: one by one, in batches, and as they come."""

import sys

import pika
from pika.adapters.select_connection import SelectConnection

host, port, queue, count = sys.argv[1:]
parameters = pika.ConnectionParameters(host, int(port))
bodies = [str(number).encode() for number in range(int(count))]


def one_by_one():
    """pika waits for the confirm of each message."""
    with pika.BlockingConnection(parameters) as connection:
        channel = connection.channel()
        channel.queue_declare(queue)
        channel.confirm_delivery()
        for body in bodies:
            channel.basic_publish("", queue, body, mandatory=True)
    print(f"one by one: {len(bodies)} confirmed")


def as_they_come():
    """Messages go out at once; each confirm takes its own, or all up to it, from those that are awaited."""
    awaited = {}

    def on_confirm(frame):
        tag = frame.method.delivery_tag
        for settled in [older for older in awaited if older == tag or (frame.method.multiple and older < tag)]:
            del awaited[settled]
        if not awaited:
            connection.close()

    def on_channel(channel):
        channel.confirm_delivery(on_confirm, callback=lambda _: publish(channel))

    def publish(channel):
        for tag, body in enumerate(bodies, 1):
            awaited[tag] = body
            channel.basic_publish("", queue, body)

    connection = SelectConnection(
        parameters,
        on_open_callback=lambda opened: opened.channel(on_open_callback=on_channel),
        on_close_callback=lambda closed, reason: closed.ioloop.stop(),
    )
    connection.ioloop.start()
    print(f"as they come: {len(bodies) - len(awaited)} confirmed")


one_by_one()
as_they_come()
