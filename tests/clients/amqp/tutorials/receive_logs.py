"""Publish/subscribe: print what is told, from a queue of one's own."""

import sys

import pika

host, port, exchange = sys.argv[1:]


def on_line(channel, method, properties, body):
    print(f"received {body.decode()}", flush=True)


connection = pika.BlockingConnection(pika.ConnectionParameters(host, int(port)))
channel = connection.channel()
channel.exchange_declare(exchange, exchange_type="fanout")
own = channel.queue_declare("", exclusive=True).method.queue
channel.queue_bind(own, exchange)
channel.basic_consume(own, on_line, auto_ack=True)
print("ready", flush=True)
channel.start_consuming()
