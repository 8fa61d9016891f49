"""What the HTTP listener answers."""

import json

import pytest

from handlers.http import HttpHandler
from portask.config import load_settings
from portask.errors import StorageFailedError


def test_process_that_works_is_healthy(http):
    status, headers, body = http.get("/healthz")

    assert (status, json.loads(body)) == (200, {"status": "ok"})
    assert headers["content-type"] == "application/json"


def test_started_broker_is_ready(http):
    status, _, body = http.get("/readyz")

    assert (status, json.loads(body)) == (200, {"status": "ready"})


def test_broker_that_starts_is_healthy_but_not_ready(starting):
    assert starting.get("/healthz")[0] == 200

    status, _, body = starting.get("/readyz")
    assert (status, json.loads(body)["reason"]) == (503, "starting")


def test_broker_that_stops_is_not_ready(http):
    http.broker.stop(5)

    status, _, body = http.get("/readyz")
    assert (status, json.loads(body)["reason"]) == (503, "stopping")


def test_broker_whose_storage_failed_is_not_ready_and_says_why(http):
    http.broker.batcher.failure = StorageFailedError("sync: I/O error")

    status, _, body = http.get("/readyz")
    assert (status, json.loads(body)["reason"]) == (503, "storage has failed: sync: I/O error")


def test_index_names_every_resource(http):
    status, _, body = http.get("/")

    assert status == 200
    assert set(json.loads(body)["resources"]) == {"/healthz", "/readyz", "/metrics"}


def test_every_resource_that_the_index_names_is_there(http):
    resources = json.loads(http.get("/")[2])["resources"]

    assert {path: http.get(path)[0] for path in resources} == dict.fromkeys(resources, 200)


def test_unknown_path_is_answered_as_json(http):
    status, headers, body = http.get("/nowhere")

    assert (status, headers["content-type"]) == (404, "application/json")
    assert json.loads(body) == {"error": "there is no /nowhere; / lists what there is"}


def test_unknown_path_is_answered_as_json_even_when_xml_is_asked_for(http, parse_answer):
    answer = http.send(b"GET /nowhere HTTP/1.1\r\nAccept: application/xml\r\nConnection: close\r\n\r\n")

    assert json.loads(parse_answer(answer)[2])["error"]


def test_other_methods_are_refused_with_those_that_are_possible(http):
    status, headers, body = http.get("/metrics", method="POST")

    assert (status, json.loads(body)) == (405, {"error": "POST is not possible here"})
    assert "GET" in headers["allow"]


def test_head_is_answered_without_a_body(http):
    status, headers, body = http.get("/readyz", method="HEAD")

    assert (status, body) == (200, b"")
    assert int(headers["content-length"]) > 0


def test_mistake_of_the_application_is_answered_as_json(http, monkeypatch, caplog):
    monkeypatch.setattr(http.broker.storage, "stats", lambda: 1 / 0)

    status, _, body = http.get("/metrics")

    assert (status, json.loads(body)) == (500, {"error": "the broker made a mistake; its log says more"})
    assert "ZeroDivisionError" in caplog.text


def test_broken_application_does_not_break_the_listener(http, monkeypatch, caplog):
    monkeypatch.setattr(http.handler, "_application", lambda environ, start_response: 1 / 0)

    assert http.get("/healthz")[0] == 500
    assert "ZeroDivisionError" in caplog.text


def test_one_connection_serves_many_requests(http):
    with http.connect() as sock:
        for _ in range(3):
            assert http.ask(sock) == 200


def test_port_0_opens_nothing(http):
    http.broker.settings = load_settings(["--http-port=0"], {}, HttpHandler.options)
    handler = HttpHandler(http.broker)

    handler.start()

    assert handler.address is None
    handler.close(1)


def test_port_that_is_taken_is_named_with_its_option(http):
    second = HttpHandler(http.broker)

    with pytest.raises(OSError, match=f"{http.port}.*--http-port"):
        second.start()
