"""`portask bench`: that it measures what it says; how much is for bench/."""

import os
import signal

import pytest


@pytest.mark.parametrize("partitions", [1, 3])
def test_publishing_is_measured(portask, partitions):
    result = portask("bench", "pub", "--messages", "1050", "--partitions", partitions, "--output", "json").json

    assert result["publish"]["messages_per_s"] > 0
    assert set(result["confirm_ms"]) == {"p50", "p95", "p99", "p99.9", "max"}
    assert "consume" not in result


def test_receiving_is_measured(portask):
    result = portask(
        "bench", "sub", "--messages", "1000", "--consumers", "2", "--partitions", "2", "--output", "json"
    ).json

    assert result["consume"]["connections"] == 2
    assert result["consume"]["messages_per_s"] > 0
    assert "publish" not in result


def test_both_are_measured_together(portask):
    result = portask("bench", "both", "--messages", "1000", "--producers", "2", "--batch", "7", "--output", "json").json

    assert result["publish"]["connections"] == 2
    assert result["consume"]["messages_per_s"] > 0


def test_latency_is_measured_for_each_message(portask):
    result = portask("bench", "latency", "--messages", "200", "--rate", "2000", "--output", "json").json

    assert 0 < result["delivery_ms"]["p50"] <= result["delivery_ms"]["max"]
    assert 0 < result["confirm_ms"]["p50"] <= result["confirm_ms"]["max"]


def test_broker_on_this_machine_is_observed(portask, server):
    result = portask("bench", "pub", "--messages", "1000", "--output", "json").json

    assert result["broker"]["pid"] == server.process.pid
    assert result["broker"]["rss_bytes"] > 0


def test_topic_of_its_own_is_removed_at_the_end(portask):
    portask("bench", "pub", "--messages", "10")

    assert not [row for row in portask("topic", "ls", "--output", "jsonl").jsonl if row["name"].startswith("bench-")]


def test_topic_that_is_named_is_kept(portask, topic):
    portask("bench", "pub", "--messages", "10", "--topic", topic)

    assert portask("topic", "show", topic, "--output", "json").json["partitions"][0]["high_watermark"] == 10


def test_payloads_have_the_size_that_was_asked_for(portask, topic):
    portask("bench", "pub", "--messages", "10", "--size", "200", "--topic", topic)

    assert {len(line) for line in portask("read", topic, "--output", "raw").lines} == {200}


def test_table_names_every_figure(portask):
    out = portask("bench", "pub", "--messages", "10").out

    assert "publish.messages_per_s" in out
    assert "confirm_ms.p99.9" in out


def test_process_that_is_not_there_is_a_usage_error(portask):
    assert "--pid" in portask("bench", "pub", "--messages", "10", "--pid", "999999999", code=2).err


def test_interrupted_load_ends_with_its_topic_removed(portask, popen, wait_until):
    def topics():
        names = [row["name"] for row in portask("topic", "ls", "--output", "jsonl").jsonl]
        return [name for name in names if name.startswith("bench-")]

    process = popen("bench", "latency", "--messages", "1000000", start_new_session=True)
    wait_until(topics, 60)

    os.killpg(process.pid, signal.SIGINT)

    assert process.wait(60) == 130
    assert topics() == []


def test_answer_that_is_an_error_ends_the_load(portask):
    assert "TOO_LARGE" in portask("bench", "pub", "--messages", "1", "--size", str(17 * 1024 * 1024), code=1).err
