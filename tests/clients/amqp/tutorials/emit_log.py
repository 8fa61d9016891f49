"""Publish/subscribe: tell everyone who listens now."""

import sys

import pika

host, port, exchange, *lines = sys.argv[1:]
connection = pika.BlockingConnection(pika.ConnectionParameters(host, int(port)))
channel = connection.channel()
channel.exchange_declare(exchange, exchange_type="fanout")
for line in lines:
    channel.basic_publish(exchange, "", line)
    print(f"sent {line}")
connection.close()
