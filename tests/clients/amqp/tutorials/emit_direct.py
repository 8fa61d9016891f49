"""Routing: tell it with a severity. Arguments come in pairs: severity, line."""

import sys

import pika

host, port, exchange, *words = sys.argv[1:]
connection = pika.BlockingConnection(pika.ConnectionParameters(host, int(port)))
channel = connection.channel()
channel.exchange_declare(exchange, exchange_type="direct")
for severity, line in zip(words[::2], words[1::2], strict=True):
    channel.basic_publish(exchange, severity, line)
    print(f"sent {severity}:{line}")
connection.close()
