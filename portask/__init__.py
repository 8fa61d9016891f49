"""Portask: a message broker over one durable log."""

__version__ = "0.1.0"
