"""What is printed, and how it depends on where it goes."""

import contextlib
import io
import json
import os
import pty
import subprocess
import sys

import pytest

from portask.cli.message_output import MessagePrinter
from portask.cli.output import print_object, print_rows
from portask.client.subscription import received

ROWS = [{"name": "a", "count": 1, "more": {"x": [1, 2]}}, {"name": "b", "count": 22, "more": {}}]


@pytest.fixture
def in_terminal(environ, server, wait_until):
    """A function that runs a command on a terminal and returns what it shows there."""

    def in_terminal(*arguments, **variables):
        control, terminal = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "portask", *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=terminal,
            stderr=terminal,
            env=environ(PORTASK_SERVER=server.address, TERM="xterm-256color", **variables),
        )
        os.close(terminal)
        os.set_blocking(control, False)
        shown = bytearray()

        def has_ended():
            ended = process.poll() is not None
            with contextlib.suppress(OSError):
                while piece := os.read(control, 65536):
                    shown.extend(piece)
            return ended

        wait_until(has_ended, 60)
        os.close(control)
        assert process.returncode == 0
        return bytes(shown)

    return in_terminal


def test_table_has_only_its_columns_and_numbers_to_the_right(capsys):
    print_rows(ROWS, ("name", "count"), "table")

    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == [
        "NAME  COUNT",
        "a         1",
        "b        22",
    ]


def test_json_lines_have_everything(capsys):
    print_rows(ROWS, ("name",), "jsonl")

    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == ROWS


def test_json_is_one_array(capsys):
    print_rows(iter(ROWS), ("name",), "json")

    assert json.loads(capsys.readouterr().out) == ROWS


def test_object_as_a_table_has_a_line_for_each_value(capsys):
    print_object({"a": {"b": 1.5, "c": None}, "d": True, "e": [], "f": [{"x": 1}]}, "table")

    assert capsys.readouterr().out == "a.b  1.5\na.c  -\nd    yes\ne    -\nf    x=1\n"


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_object_as_json_is_whole(capsys, form):
    print_object({"a": {"b": 1}}, form)

    assert json.loads(capsys.readouterr().out) == {"a": {"b": 1}}


def test_terminal_gets_colours_unless_they_are_not_wanted(in_terminal, portask, topic):
    portask("topic", "create", topic)

    assert b"\x1b[1m" in in_terminal("topic", "ls")
    assert b"\x1b[" not in in_terminal("topic", "ls", NO_COLOR="1")


def test_pipe_gets_no_colours(portask):
    assert "\x1b" not in portask("topic", "ls").out


def test_terminal_gets_a_progress_bar(portask, in_terminal, topic, tmp_path):
    portask("pub", topic, "x", "--count", "10", "--quiet")

    assert b"10/10" in in_terminal("export", topic, tmp_path / "file")
    assert b"100%" in in_terminal("import", topic, tmp_path / "file")


class Out(io.BytesIO):
    """Stands for stdout: bytes go to its buffer."""

    buffer = property(lambda self: self)


@pytest.fixture
def printed(monkeypatch):
    """A function that prints messages in one form and returns the text."""

    def printed(form, *rows):
        out = Out()
        monkeypatch.setattr(sys, "stdout", out)
        with MessagePrinter(form) as printer:
            for row in rows:
                printer.show(received("t", 0, list(row), None, 0))
        return out.getvalue().decode()

    return printed


def test_raw_is_the_payload_alone(printed):
    assert printed("raw", (0, 0, 5, b"one"), (1, 0, 5, None)) == "one\n\n"


def test_array_without_messages_is_empty(printed):
    assert json.loads(printed("json")) == []


def test_people_see_place_time_and_payload(printed):
    line = printed("table", (7, 0, 0, b"hello")).split()

    assert (line[0], line[2]) == ("t/0/7", "hello")
    assert line[1].startswith("19")


def test_people_see_key_headers_and_redelivery(printed):
    line = printed("table", (7, 2, -1, b"hello", b"k", ["a", b"1", "b", None]))

    assert line == "t/0/7  -  redelivered=2  key=k  a=1  b=-  hello\n"


def test_time_that_no_calendar_has_is_shown_as_a_number(printed):
    assert str(2**63 - 1) in printed("table", (7, 0, 2**63 - 1, b"hello"))
