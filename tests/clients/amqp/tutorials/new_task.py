"""Work queues: hand in tasks that survive a restart of the broker."""

import sys

import pika

host, port, queue, *tasks = sys.argv[1:]
connection = pika.BlockingConnection(pika.ConnectionParameters(host, int(port)))
channel = connection.channel()
channel.queue_declare(queue, durable=True)
for task in tasks:
    persistent = pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent)
    channel.basic_publish("", queue, task, persistent)
    print(f"sent {task}")
connection.close()
