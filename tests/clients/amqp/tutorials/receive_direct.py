"""Routing: print what is told with the severities that are asked for."""

import sys

import pika

host, port, exchange, *severities = sys.argv[1:]


def on_line(channel, method, properties, body):
    print(f"received {method.routing_key}:{body.decode()}", flush=True)


connection = pika.BlockingConnection(pika.ConnectionParameters(host, int(port)))
channel = connection.channel()
channel.exchange_declare(exchange, exchange_type="direct")
own = channel.queue_declare("", exclusive=True).method.queue
for severity in severities:
    channel.queue_bind(own, exchange, severity)
channel.basic_consume(own, on_line, auto_ack=True)
print("ready", flush=True)
channel.start_consuming()
