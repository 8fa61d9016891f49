"""Hello world: send one message to a queue."""

import sys

import pika

host, port, queue, text = sys.argv[1:]
connection = pika.BlockingConnection(pika.ConnectionParameters(host, int(port)))
channel = connection.channel()
channel.queue_declare(queue)
channel.basic_publish(exchange="", routing_key=queue, body=text)
print(f"sent {text}")
connection.close()
