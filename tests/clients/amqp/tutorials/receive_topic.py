"""Topics: print what is told with keys that match a pattern."""

import sys

import pika

host, port, exchange, *patterns = sys.argv[1:]


def on_line(channel, method, properties, body):
    print(f"received {method.routing_key}:{body.decode()}", flush=True)


connection = pika.BlockingConnection(pika.ConnectionParameters(host, int(port)))
channel = connection.channel()
channel.exchange_declare(exchange, exchange_type="topic")
own = channel.queue_declare("", exclusive=True).method.queue
for pattern in patterns:
    channel.queue_bind(own, exchange, pattern)
channel.basic_consume(own, on_line, auto_ack=True)
print("ready", flush=True)
channel.start_consuming()
