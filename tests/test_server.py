"""The server from start to stop, as a real process."""

import json
import os
import resource
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.server_process import ServerProcess


@pytest.fixture
def server(tmp_path):
    process = ServerProcess(tmp_path / "data")
    yield process
    process.kill()


def serve(*flags, environ=None):
    """Run `portask serve` that is expected to refuse to start."""
    command = [sys.executable, "-m", "portask", "serve", "--http-port", "0", "--kafka-port", "0", "--amqp-port", "0"]
    env = {**os.environ, **(environ or {})}
    return subprocess.run([*command, *flags], capture_output=True, text=True, timeout=20, check=False, env=env)


def events(server):
    """The log as objects."""
    return [json.loads(line) for line in server.log]


def test_ready_is_one_line_that_says_where_it_listens(server):
    server.start()

    (ready,) = [event for event in events(server) if event["message"] == "portask ready"]
    assert ready["native"] == f"127.0.0.1:{server.port}"


def test_sigterm_answers_what_was_accepted_and_exits_with_0(server):
    server.start()
    with server.connect() as link:
        link.send(*(b"PUBLISH orders %d\n" % number for number in range(1000)))
        first = link.answer()
        server.process.send_signal(signal.SIGTERM)
        answers = [first, *link.answers_to_the_end()]
    assert server.wait() == 0

    server.start()
    confirmed = [answer for answer in answers if answer.startswith("OK")]
    with server.connect() as link:
        stored = int(link.ask(b"READ orders 0 0 1\n").split("high_watermark=")[1].split(" ")[0])
    assert 0 < len(confirmed) <= stored <= 1000


def test_a_clean_stop_flags_nothing_as_redelivered(server):
    server.start()
    with server.connect() as link:
        link.send(b"SUBSCRIBE orders workers 1\n", *(b"PUBLISH orders %d\n" % number for number in range(3)))
        for _ in range(4):
            link.answer()
        assert link.ask(b"ACK orders/0/0\n") == "OK 1"
    server.stop()

    server.start()
    with server.connect() as link:
        link.ask(b"SUBSCRIBE orders workers 10\n")
        again = [link.read() for _ in range(2)]

    assert [(message.payload, message.redelivered) for message in again] == [(b"1", True), (b"2", False)]


def test_the_server_stops_while_clients_are_idle(server):
    server.start()
    with server.connect() as link:
        assert link.ask(b"SUBSCRIBE orders\n").startswith("OK")

        assert server.stop() == 0


def test_a_second_process_is_refused_with_the_pid_of_the_first(server):
    server.start()

    refused = serve("--data-dir", server.directory, "--native-port", "0")

    assert refused.returncode == 1
    assert str(server.process.pid) in refused.stderr
    with server.connect() as link:
        assert link.ask(b"PING\n") == "OK PONG"


def test_a_port_in_use_stops_the_start_and_frees_the_directory(server, tmp_path):
    server.start()

    refused = serve("--data-dir", str(tmp_path / "other"), "--native-port", str(server.port))

    assert refused.returncode == 1
    assert "--native-port" in refused.stderr
    assert subprocess.run(["flock", "-n", tmp_path / "other" / "lock", "true"], check=False).returncode == 0


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--zstd-level", "23"], "1 to 22"),
        (["--nativ-port", "1"], "--native-port"),
        (["--host", "0.0.0.0"], "allow_remote"),
        (["--storage", "dragonfly://127.0.0.1:6379/0"], "use local or memory"),
    ],
)
def test_a_wrong_setting_stops_the_start_with_2_and_what_would_be_right(flags, text, tmp_path):
    refused = serve("--data-dir", str(tmp_path / "data"), *flags)

    assert refused.returncode == 2
    assert text in refused.stderr


def test_a_directory_that_cannot_be_made_stops_the_start(tmp_path):
    (tmp_path / "file").write_text("in the way")

    refused = serve("--data-dir", str(tmp_path / "file" / "data"), "--native-port", "0")

    assert refused.returncode == 1
    assert "file/data" in refused.stderr


def test_the_data_directory_is_its_owners_alone(server):
    server.start()

    assert stat.S_IMODE(Path(server.directory).stat().st_mode) == 0o700


def test_memory_storage_serves_and_forgets(tmp_path):
    server = ServerProcess(tmp_path / "data", "--storage", "memory")
    for _ in range(2):
        server.start()
        with server.connect() as link:
            assert link.ask(b"PUBLISH orders x\n") == "OK orders/0/0"
        assert server.stop() == 0


def test_a_reload_applies_what_it_can_and_names_what_it_cannot(tmp_path):
    config = tmp_path / "portask.toml"
    config.write_text("[batching]\nzstd_level = 3\n")
    server = ServerProcess(tmp_path / "data", "--config", str(config))
    server.start()
    try:
        config.write_text('[batching]\nzstd_level = 4\nbus_bytes = "1MiB"\n')
        with server.connect() as link:
            answer = json.loads(link.ask(b"RELOAD\n").removeprefix("OK "))
            assert answer == {"applied": ["zstd_level"], "needs_restart": ["bus_bytes"]}
            config.write_text("[batching]\nzstd_levle = 4\n")
            assert link.ask(b"RELOAD\n").startswith("ERR")
    finally:
        server.kill()


def test_a_full_disk_refuses_publishers_and_loses_nothing(tmp_path):
    """A file size limit stands for the full disk: the journal's next file cannot be made."""
    server = ServerProcess(tmp_path / "data", "--journal-bytes", "65536")
    server.start()
    try:
        with server.connect() as link:
            confirmed = []
            assert link.ask(b"SUBSCRIBE orders workers 10\n").startswith("OK")
            pid, unlimited = server.process.pid, resource.RLIM_INFINITY
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (100_000, unlimited))
            for _ in range(200):
                answer = link.ask(b"PUBLISHB orders 1000\n" + os.urandom(1000))
                if answer.startswith("ERR"):
                    break
                confirmed.append(answer)
            assert answer.split(" ")[:2] == ["ERR", "FULL"]
            assert confirmed
            assert link.ask(b"ACK %s\n" % link.messages[0].id.encode()) == "OK 1"
            with server.connect() as other:
                assert other.ask(b"PING\n") == "OK PONG"
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (unlimited, unlimited))
            answer = link.ask(b"PUBLISH orders again\n")
            while answer.startswith("ERR FULL"):
                answer = link.ask(b"PUBLISH orders again\n")
            assert answer == f"OK orders/0/{len(confirmed)}"
    finally:
        server.kill()
    server.start()
    try:
        with server.connect() as link:
            assert link.ask(b"READ orders 0 0 1\n").split("high_watermark=")[1].startswith(str(len(confirmed) + 1))
    finally:
        server.kill()
