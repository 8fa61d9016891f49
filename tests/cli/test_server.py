"""`portask serve`, `status`, `config`, `verify` and `repair`."""

import signal
import tomllib
import urllib.request

from portask.cli.outcome import Exit


def test_status_says_how_the_broker_is(portask, server):
    status = portask("status", "--output", "json").json

    assert (status["server"], status["state"], status["pid"]) == (server.address, "ready", server.process.pid)
    assert "state" in portask("status").out


def test_ready_line_names_what_listens(server):
    ready = server.started[-1]

    assert (ready["message"], ready["native"]) == ("portask ready", server.address)
    assert ready["http"] == f"127.0.0.1:{server.http_port}"


def test_metrics_of_a_real_process_count_what_it_did(start_server, run, tmp_path, wait_until):
    # A broker of its own: of very many subscriptions not all are shown.
    server = start_server(tmp_path / "data")
    run("pub", "orders", "x", "--count", "3", "--quiet", "--server", server.address)
    run("sub", "orders", "--count", "2", "--server", server.address)

    def metrics():
        with urllib.request.urlopen(f"http://127.0.0.1:{server.http_port}/metrics") as answer:
            return answer.read().decode()

    wait_until(lambda: 'portask_subscription_lag_messages{group="default",topic="orders"} 1.0' in metrics(), 20)
    text = metrics()
    assert "portask_storage_syncs_total" in text
    assert 'portask_protocol_messages_received_total{protocol="native"}' in text


def test_stopped_broker_ends_well_and_its_data_is_sound(start_server, run, tmp_path):
    server = start_server(tmp_path / "data")
    run("pub", "orders", "x", "--count", "10", "--server", server.address)

    assert "in use by process" in run("verify", tmp_path / "data").err
    assert server.stop() == 0
    done = run("verify", tmp_path / "data", "--output", "json")

    assert (done.code, done.json["is_sound"]) == (0, True)


def test_interrupted_broker_ends_well(start_server, tmp_path):
    assert start_server(tmp_path / "data").stop(signal.SIGINT) == 0


def test_what_was_confirmed_is_there_after_a_kill(start_server, run, tmp_path):
    server = start_server(tmp_path / "data")
    run("pub", "orders", stdin=b"one\ntwo\n", PORTASK_SERVER=server.address)
    server.stop(signal.SIGKILL)

    again = start_server(tmp_path / "data")

    assert run("read", "orders", "--output", "raw", PORTASK_SERVER=again.address).lines == ["one", "two"]


def test_second_broker_on_a_directory_is_refused_with_the_first_ones_process(server, run):
    done = run("serve", "--data-dir", server.directory, "--native-port=0", "--http-port=0")

    assert done.code == Exit.FAILED
    assert str(server.process.pid) in done.err


def test_address_of_the_client_does_not_disturb_the_broker(run, server):
    done = run("serve", "--data-dir", server.directory, PORTASK_SERVER="127.0.0.1:7672")

    assert "PORTASK_SERVER" not in done.err


def test_misspelt_flag_of_serve_names_the_nearest(run):
    done = run("serve", "--data-dri", "x")

    assert done.code == Exit.USAGE
    assert "--data-dir" in done.err


def test_damage_is_found_and_set_aside(start_server, run, tmp_path):
    server = start_server(tmp_path / "data")
    for payload in ("one", "two", "three"):
        run("pub", "orders", payload, "--server", server.address)
    server.stop()
    journal = min((tmp_path / "data" / "journal").iterdir())
    data = bytearray(journal.read_bytes())
    data[data.index(b"two")] ^= 1
    journal.write_bytes(data)

    found = run("verify", tmp_path / "data")
    assert found.code == Exit.DAMAGED
    assert "is damaged" in found.out
    assert "damage" in found.out
    mended = run("repair", tmp_path / "data", "--output", "json")
    assert (mended.code, len(mended.json["aside"])) == (Exit.OK, 1)
    assert run("verify", tmp_path / "data").code == Exit.OK
    again = start_server(tmp_path / "data")
    assert run("read", "orders", "--output", "raw", PORTASK_SERVER=again.address).lines == ["one", "three"]


def test_repairing_what_is_sound_changes_nothing(start_server, run, tmp_path):
    start_server(tmp_path / "data").stop()

    assert "was sound" in run("repair", tmp_path / "data").out


def test_directory_that_is_none_is_not_checked(run, tmp_path):
    done = run("verify", tmp_path / "nothing")

    assert done.code == Exit.FAILED
    assert "--data-dir" in done.err
    assert not (tmp_path / "nothing").exists()


def test_printed_configuration_is_one_that_is_valid(run, tmp_path):
    (tmp_path / "portask.toml").write_text(run("config", "print").out)

    assert tomllib.loads((tmp_path / "portask.toml").read_text())
    assert run("config", "check", tmp_path / "portask.toml").code == Exit.OK


def test_a_configuration_with_a_storage_that_is_not_there_is_not_valid(run, tmp_path):
    (tmp_path / "portask.toml").write_text('[storage]\nstorage = "redis://127.0.0.1"\n')

    done = run("config", "check", tmp_path / "portask.toml")

    assert done.code == Exit.USAGE
    assert "use local or memory" in done.err


def test_effective_configuration_says_where_each_value_comes_from(run, tmp_path):
    file = tmp_path / "portask.toml"
    file.write_text("[batching]\nzstd_level = 3\n")

    done = run(
        *("config", "print", "--effective", "--config", file, "--output", "jsonl"),
        PORTASK_LINGER_MS="5",
        PORTASK_SERVER="x:1",
    )

    rows = {row["name"]: (row["value"], row["source"]) for row in done.jsonl}
    assert rows["zstd_level"] == (3, f"{file}:2")
    assert rows["linger_ms"] == (5, "PORTASK_LINGER_MS")
    assert rows["sync"] == ("always", "default")


def test_effective_configuration_hides_passwords(run):
    done = run("config", "print", "--effective", PORTASK_STORAGE="redis://user:secret@127.0.0.1:6379")

    assert "redis://" in done.out
    assert "secret" not in done.out


def test_broken_file_is_named_with_its_line(run, tmp_path):
    (tmp_path / "portask.toml").write_text("[batching]\nzstd_levl = 3\n")

    done = run("config", "check", tmp_path / "portask.toml")

    assert done.code == Exit.USAGE
    assert "portask.toml:2" in done.err
    assert "zstd_level" in done.err


def test_reload_tells_what_was_applied_and_what_needs_a_restart(start_server, run, tmp_path):
    file = tmp_path / "portask.toml"
    file.write_text("")
    server = start_server(tmp_path / "data", f"--config={file}")
    file.write_text("[batching]\nzstd_level = 3\nbus_bytes = '1MiB'\n")

    done = run("config", "reload", "--server", server.address, "--output", "json")

    assert done.json == {"applied": ["zstd_level"], "needs_restart": ["bus_bytes"]}


def test_reload_of_a_broken_file_is_refused(start_server, run, tmp_path):
    file = tmp_path / "portask.toml"
    file.write_text("")
    server = start_server(tmp_path / "data", f"--config={file}")
    file.write_text("nonsense")

    assert run("config", "reload", "--server", server.address).code == Exit.USAGE
