"""AMQP 0-9-1, as RabbitMQ speaks it."""

from handlers.amqp.handler import AmqpHandler

__all__ = ["AmqpHandler"]
