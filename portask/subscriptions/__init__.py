"""Subscriptions: who has which message of a topic, and what is settled."""
