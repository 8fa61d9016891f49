"""Remote calls: answer with Fibonacci numbers."""

import sys

import pika

host, port, queue = sys.argv[1:]


def fibonacci(number):
    low, high = 0, 1
    for _ in range(number):
        low, high = high, low + high
    return low


def on_request(channel, method, properties, body):
    answer = pika.BasicProperties(correlation_id=properties.correlation_id)
    channel.basic_publish("", properties.reply_to, str(fibonacci(int(body))), answer)
    channel.basic_ack(method.delivery_tag)


connection = pika.BlockingConnection(pika.ConnectionParameters(host, int(port)))
channel = connection.channel()
channel.queue_declare(queue)
channel.basic_qos(prefetch_count=1)
channel.basic_consume(queue, on_request)
print("ready", flush=True)
channel.start_consuming()
