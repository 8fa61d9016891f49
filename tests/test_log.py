"""Logs as text and as JSON."""

import io
import json
import logging
import re
import sys

import pytest

from portask.telemetry.log import configure


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


@pytest.fixture
def written(monkeypatch):
    """A function that configures logs on a fresh stderr and returns what a call then writes there."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level

    def run(log_format, event, log_level="info", stream=None):
        stream = io.StringIO() if stream is None else stream
        monkeypatch.setattr(sys, "stderr", stream)
        configure(log_level, log_format)
        event(logging.getLogger("portask.test"))
        return stream.getvalue()

    yield run
    root.handlers[:] = handlers
    root.setLevel(level)


def ready(log):
    log.info("portask ready", extra={"host": "127.0.0.1", "native_port": 7672})


def test_text_is_one_line_with_the_fields(written):
    line = written("text", ready)

    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z info portask ready host=127\.0\.0\.1 native_port=7672\n", line
    )


def test_json_is_one_object_with_the_fields(written):
    entry = json.loads(written("json", ready))

    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", entry.pop("time"))
    assert entry == {
        "level": "info",
        "logger": "portask.test",
        "message": "portask ready",
        "host": "127.0.0.1",
        "native_port": 7672,
    }


def test_auto_is_text_on_a_terminal(written):
    assert " info portask ready " in written("auto", ready, stream=Terminal())


def test_auto_is_json_elsewhere(written):
    assert written("auto", ready).startswith("{")


def test_less_severe_events_are_left_out(written):
    assert not written("text", ready, log_level="warning")


def test_configuring_again_replaces_the_format(written):
    written("text", ready)

    assert written("json", ready).count("portask ready") == 1


def test_configuring_again_replaces_the_level(written):
    written("text", ready, log_level="error")

    assert written("text", lambda log: log.debug("seen"), log_level="debug")


def test_handlers_of_others_stay(written):
    other = logging.NullHandler()
    logging.getLogger().addHandler(other)
    written("text", ready)

    assert other in logging.getLogger().handlers


def test_field_cannot_start_a_new_line(written):
    line = written("text", lambda log: log.info("refused", extra={"client": "x\n2026 info forged=1\u2028"}))

    assert line.count("\n") == 1
    assert line.endswith('client="x\\n2026 info forged=1\\u2028"\n')


def test_message_cannot_start_a_new_line(written):
    assert written("text", lambda log: log.info("one\r\ntwo")).endswith(" info one two\n")


def test_several_values_are_joined(written):
    assert written("text", lambda log: log.info("reloaded", extra={"applied": ("a", "b")})).endswith(" applied=a,b\n")


def test_empty_field_is_visible(written):
    assert written("text", lambda log: log.info("refused", extra={"client": ""})).endswith(' client=""\n')


def fail(log):
    try:
        raise KeyError("gone")
    except KeyError:
        log.exception("broken")


def test_traceback_follows_in_text(written):
    lines = written("text", fail).splitlines()

    assert lines[0].endswith(" error broken")
    assert lines[-1] == "KeyError: 'gone'"


def test_traceback_is_a_field_in_json(written):
    assert json.loads(written("json", fail))["exc_info"].endswith("KeyError: 'gone'")


def test_value_that_json_does_not_know_is_written_as_text(written):
    entry = json.loads(written("json", lambda log: log.info("odd", extra={"value": {1, 2}, "raw": b"\xff"})))

    assert "value" in entry
    assert "raw" in entry
