"""Hello world: print the messages of a queue until one says stop."""

import sys

import pika

host, port, queue = sys.argv[1:]


def on_message(channel, method, properties, body):
    print(f"received {body.decode()}")
    if body == b"stop":
        channel.stop_consuming()


connection = pika.BlockingConnection(pika.ConnectionParameters(host, int(port)))
channel = connection.channel()
channel.queue_declare(queue)
channel.basic_consume(queue, on_message, auto_ack=True)
channel.start_consuming()
connection.close()
