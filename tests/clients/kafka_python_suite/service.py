"""Stands in for test/service.py, which kafka-python's source distribution lacks: the broker runs already."""


class ExternalService:
    """A broker that somebody else started."""

    def __init__(self, host, port):
        self.host = host
        self.port = port


class SpawnedService:
    """Only named by the fixtures; nothing is spawned."""
