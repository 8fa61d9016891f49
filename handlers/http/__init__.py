"""HTTP: metrics and health for the machines that watch this one."""

from handlers.http.handler import HttpHandler

__all__ = ["HttpHandler"]
