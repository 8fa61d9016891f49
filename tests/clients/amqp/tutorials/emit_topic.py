"""Topics: tell it with a key of words. Arguments come in pairs: key, line."""

import sys

import pika

host, port, exchange, *words = sys.argv[1:]
connection = pika.BlockingConnection(pika.ConnectionParameters(host, int(port)))
channel = connection.channel()
channel.exchange_declare(exchange, exchange_type="topic")
for key, line in zip(words[::2], words[1::2], strict=True):
    channel.basic_publish(exchange, key, line)
    print(f"sent {key}:{line}")
connection.close()
