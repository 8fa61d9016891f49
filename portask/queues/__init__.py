"""Queues: what AMQP clients publish to and consume from, each on a topic and a subscription to it."""
