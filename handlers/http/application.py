"""What is served: a small falcon application. Every answer is JSON, but for the metrics.

GET /          what there is
GET /healthz   200 while the process works at all
GET /readyz    200 while messages are taken and stored, else 503 with the reason
GET /metrics   Prometheus' text format
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import falcon

from portask import __version__
from portask.telemetry.metrics import CONTENT_TYPE, render

if TYPE_CHECKING:
    from portask.broker import Broker

log = logging.getLogger(__name__)

_INDEX = {
    "/healthz": "200 while the process works",
    "/readyz": "200 while messages are taken and stored, else 503 with the reason",
    "/metrics": "metrics in Prometheus' text format",
}


class Resource(ABC):
    """Something that can be read."""

    @abstractmethod
    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """Fill *response*."""

    def on_head(self, request: falcon.Request, response: falcon.Response) -> None:
        """As GET; falcon leaves the body out."""
        self.on_get(request, response)


class Index(Resource):
    """What there is."""

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        response.media = {"name": "portask", "version": __version__, "resources": _INDEX}


class Health(Resource):
    """Whether the process works: it does, or nobody would answer."""

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        response.media = {"status": "ok"}


class Ready(Resource):
    """Whether the broker takes and stores messages."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        reason = self._reason()
        if reason is None:
            response.media = {"status": "ready"}
        else:
            response.status = falcon.HTTP_503
            response.media = {"status": "not ready", "reason": reason}

    def _reason(self) -> str | None:
        broker = self._broker
        if broker.failure is not None:
            return f"storage has failed: {broker.failure}"
        if broker.stopping:
            return "stopping"
        return None if broker.ready else "starting"


class Metrics(Resource):
    """The broker's figures."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        response.content_type = CONTENT_TYPE
        response.data = render(self._broker)


def make_application(broker: Broker) -> falcon.App[Any, Any]:
    """The WSGI application for *broker*."""
    application: falcon.App[Any, Any] = falcon.App()
    application.add_route("/", Index())
    application.add_route("/healthz", Health())
    application.add_route("/readyz", Ready(broker))
    application.add_route("/metrics", Metrics(broker))
    application.set_error_serializer(_serialize)
    application.add_error_handler(Exception, _fail)
    return application


def _serialize(request: falcon.Request, response: falcon.Response, error: falcon.HTTPError) -> None:
    text = error.description or error.title or str(error.status)
    if isinstance(error, falcon.HTTPNotFound):
        text = f"there is no {request.path}; / lists what there is"
    elif isinstance(error, falcon.HTTPMethodNotAllowed):
        text = f"{request.method} is not possible here"
    response.content_type = falcon.MEDIA_JSON
    response.media = {"error": text}


def _fail(request: falcon.Request, response: falcon.Response, error: Exception, params: dict[str, Any]) -> None:
    log.error("request failed", exc_info=error, extra={"protocol": "http", "path": request.path})
    raise falcon.HTTPInternalServerError(description="the broker made a mistake; its log says more")
