"""What a peer cannot make the HTTP listener do."""

import json

import gevent.event
import pytest

from handlers.http import connection


def test_rubbish_is_refused(http, parse_answer):
    status, _, body = parse_answer(http.send(b"\x00\xff\x16\x03 rubbish\r\n\r\n"))

    assert (status, json.loads(body)) == (400, {"error": "this is not HTTP"})


def test_long_request_line_is_refused(http):
    assert http.send(b"GET /" + b"a" * 10_000 + b" HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 414")


def test_too_many_headers_are_refused(http, parse_answer):
    request = b"GET / HTTP/1.1\r\n" + b"X-Header: value\r\n" * 200 + b"\r\n"

    assert parse_answer(http.send(request))[0] == 431


def test_large_head_is_refused_before_it_is_whole(http, parse_answer):
    request = b"GET / HTTP/1.1\r\n" + (b"X-Header: " + b"v" * 8000 + b"\r\n") * 5

    assert parse_answer(http.send(request))[0] == 431


@pytest.mark.parametrize(
    ("header", "status"),
    [(b"Content-Length: 100000000", 413), (b"Transfer-Encoding: chunked", 411), (b"Content-Length: -1", 400)],
)
def test_body_that_nobody_reads_is_refused(http, parse_answer, header, status):
    assert parse_answer(http.send(b"GET / HTTP/1.1\r\n" + header + b"\r\n\r\n"))[0] == status


def test_small_body_is_skipped(http):
    with http.connect() as sock:
        for _ in range(2):
            assert http.ask(sock, "Content-Length: 5", body=b"hello") == 200


def test_half_a_head_is_answered_when_its_time_is_over(http, parse_answer, monkeypatch):
    monkeypatch.setattr(connection, "HEAD_TIMEOUT_S", 0.01)

    assert parse_answer(http.send(b"GET / HTTP/1.1\r\nHost: te"))[0] == 408


def test_silent_connection_is_closed_when_its_time_is_over(http, monkeypatch):
    monkeypatch.setattr(connection, "IDLE_TIMEOUT_S", 0.01)

    assert http.send(b"") == b""


def test_body_that_never_comes_ends_the_connection(http, monkeypatch):
    monkeypatch.setattr(connection, "ANSWER_TIMEOUT_S", 0.05)

    http.send(b"GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\n")


def test_refused_requests_do_not_reach_the_log_at_info(http, caplog):
    caplog.set_level("INFO")

    http.send(b"\x00\xff rubbish\r\n\r\n")
    http.send(b"GET / HTTP/9\r\n\r\n")

    assert caplog.records == []


def test_connections_beyond_the_limit_wait_until_one_ends(http):
    opened = [http.connect() for _ in range(http.handler._pool.size)]
    for sock in opened:
        assert http.ask(sock) == 200
    with http.connect() as late:
        opened.pop().close()
        assert http.ask(late) == 200
    for sock in opened:
        sock.close()


def test_closing_ends_idle_connections_at_once(http, wait_until):
    with http.connect() as sock:
        http.ask(sock)
        wait_until(lambda: http.handler.connections)

        http.handler.close(10)

        assert sock.recv(1) == b""
        assert not http.handler.connections


def test_closing_does_not_wait_for_a_request_that_is_never_answered(http, monkeypatch, wait_until):
    asked = gevent.event.Event()

    def application(environ, start_response):
        asked.set()
        gevent.event.Event().wait()

    monkeypatch.setattr(http.handler, "_application", application)
    with http.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        asked.wait()

        http.handler.close(0.01)

        assert sock.recv(1) == b""
