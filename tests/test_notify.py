"""What the service manager hears, over real datagram sockets."""

import logging
import os
import socket

import pytest

from portask.notify import Notifier


@pytest.fixture
def manager(tmp_path):
    """A service manager: where it listens, and its socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(10)
        yield str(tmp_path / "notify"), sock


def test_ready_is_told_with_a_status(manager):
    path, sock = manager
    Notifier({"NOTIFY_SOCKET": path}).ready("listening on\n127.0.0.1:7672")

    assert sock.recv(1000) == b"READY=1\nSTATUS=listening on 127.0.0.1:7672"


def test_stopping_is_told_with_a_status(manager):
    path, sock = manager
    Notifier({"NOTIFY_SOCKET": path}).stopping("finishing")

    assert sock.recv(1000) == b"STOPPING=1\nSTATUS=finishing"


def test_status_is_told_alone(manager):
    path, sock = manager
    Notifier({"NOTIFY_SOCKET": path}).status("recovering")

    assert sock.recv(1000) == b"STATUS=recovering"


def test_sign_of_life_is_told(manager):
    path, sock = manager
    Notifier({"NOTIFY_SOCKET": path}).watchdog()

    assert sock.recv(1000) == b"WATCHDOG=1"


def test_abstract_socket_is_reached():
    name = f"portask-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("\0" + name)
        sock.settimeout(10)
        Notifier({"NOTIFY_SOCKET": "@" + name}).watchdog()

        assert sock.recv(1000) == b"WATCHDOG=1"


def test_nothing_is_sent_without_a_manager(caplog):
    Notifier({}).ready("listening")

    assert not caplog.records


def test_manager_that_is_gone_is_only_a_warning(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).watchdog()

    assert [record.message for record in caplog.records] == ["service manager not reached"]


def test_watchdog_is_fed_twice_in_its_time():
    assert Notifier({"WATCHDOG_USEC": "30000000"}).watchdog_interval_s == 15.0


def test_watchdog_of_this_process_is_fed():
    assert Notifier({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}).watchdog_interval_s == 15.0


@pytest.mark.parametrize("environ", [{}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}])
def test_no_watchdog_needs_no_feeding(environ):
    assert Notifier(environ).watchdog_interval_s == 0
