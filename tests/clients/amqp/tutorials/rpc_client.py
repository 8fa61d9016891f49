"""Remote calls: ask for Fibonacci numbers and wait for each answer."""

import sys
import uuid

import pika


class Calculator:
    """What looks like a function and is a queue."""

    def __init__(self, host, port, queue):
        self.queue = queue
        self.answers = {}
        self.connection = pika.BlockingConnection(pika.ConnectionParameters(host, int(port)))
        self.channel = self.connection.channel()
        self.inbox = self.channel.queue_declare("", exclusive=True).method.queue
        self.channel.basic_consume(self.inbox, self.on_answer, auto_ack=True)

    def on_answer(self, channel, method, properties, body):
        self.answers[properties.correlation_id] = int(body)

    def __call__(self, number):
        call = str(uuid.uuid4())
        properties = pika.BasicProperties(reply_to=self.inbox, correlation_id=call)
        self.channel.basic_publish("", self.queue, str(number), properties)
        while call not in self.answers:
            self.connection.process_data_events(time_limit=None)
        return self.answers.pop(call)


host, port, queue, *numbers = sys.argv[1:]
fibonacci = Calculator(host, port, queue)
for number in numbers:
    print(f"fibonacci of {number} is {fibonacci(int(number))}")
fibonacci.connection.close()
