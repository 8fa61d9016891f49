"""Handlers: one package per protocol that Portask speaks, found by entry point group `portask.handlers`."""
