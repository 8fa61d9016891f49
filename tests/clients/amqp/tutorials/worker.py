"""Work queues: take one task at a time, acknowledge it when it is done, go home after so many."""

import sys

import pika

host, port, queue, count = sys.argv[1:]
done = []


def on_task(channel, method, properties, body):
    print(f"done {body.decode()}", flush=True)
    channel.basic_ack(method.delivery_tag)
    done.append(body)
    if len(done) == int(count):
        channel.stop_consuming()


connection = pika.BlockingConnection(pika.ConnectionParameters(host, int(port)))
channel = connection.channel()
channel.queue_declare(queue, durable=True)
channel.basic_qos(prefetch_count=1)
channel.basic_consume(queue, on_task)
print("ready", flush=True)
channel.start_consuming()
connection.close()
