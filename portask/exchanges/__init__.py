"""Exchanges and bindings: where a published message goes."""
