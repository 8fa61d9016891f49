"""A Celery application: tasks, workflows, retries, times and remote control, with results in queues and in Redis."""

import os
import signal

import pytest

from tests.clients.celery_app.conftest import Worker

pytestmark = pytest.mark.usefixtures("worker")


def test_a_task_returns_its_result(caller):
    assert caller("call", "add", [2, 3]) == 5


def test_a_chain_hands_each_result_to_the_next(caller):
    assert caller("chain", [1, 2, 3, 4]) == 10


def test_a_group_returns_the_results_in_order(caller):
    assert caller("group", 50) == [2 * number for number in range(50)]


def test_a_chord_ends_with_all_results_unless_the_backend_refuses(caller, backend):
    if backend == "rpc://":
        # On any broker.
        assert caller("fails", "chord", [20]) == "NotImplementedError"
    else:
        assert caller("chord", 20) == sum(2 * number for number in range(20))


def test_a_task_is_retried_until_it_succeeds(caller):
    assert caller("call", "third_time") == 2


def test_a_task_that_always_fails_is_given_up(caller):
    assert caller("fails", "never") == "ZeroDivisionError"


def test_a_task_with_a_countdown_does_not_run_before_it_is_due(caller):
    assert caller("delay", 1) >= 0


def test_a_task_that_is_not_due_for_long_does_not_keep_a_worker_from_others(caller):
    # The worker raises its prefetch of one for each that it holds, which counts at once only where it is the channel's.
    held = [caller("scheduled", [number, 1]) for number in range(2)]
    assert caller("group", 20) == [2 * number for number in range(20)]
    assert {task["request"]["id"] for task in caller("inspect", "scheduled")[0]} >= set(held)


def test_a_task_that_expired_does_not_run(caller):
    assert caller("fails", "add", [1, 2], expires=-1) == "TaskRevokedError"


def test_a_task_of_higher_priority_overtakes_those_that_wait(caller, tmp_path, lines):
    started, release, order = (tmp_path / name for name in ("started", "release", "order"))
    blocking = caller("send", "held", [str(started), str(release)])
    lines(started, 1)
    # With one process and a prefetch of one, the worker holds the next task already: a low one.
    for word in ("low 1", "low 2", "low 3"):
        caller("send", "note", [str(order), word], priority=1)
    caller("send", "note", [str(order), "high"], priority=9)
    release.touch()
    assert lines(order, 4).index("high") < 2
    assert caller("result", blocking) == "done"


def test_workers_answer_a_ping(caller):
    assert caller("ping") == [{"first@tests": {"ok": "pong"}}]


def test_workers_tell_their_tasks_queues_and_statistics(caller):
    assert "application.add" in caller("inspect", "registered")[0]
    assert [queue["name"] for queue in caller("inspect", "active_queues")[0]] == ["application"]
    assert caller("inspect", "stats")[0]["broker"]["transport"] == "amqp"


def test_a_running_task_is_among_the_active_ones(caller, tmp_path, lines):
    started, release = tmp_path / "started", tmp_path / "release"
    sent = caller("send", "held", [str(started), str(release)])
    lines(started, 1)
    assert [task["id"] for task in caller("inspect", "active")[0]] == [sent]
    release.touch()
    assert caller("result", sent) == "done"


def test_a_revoked_task_does_not_run(caller):
    assert caller("revoke", [1, 2]) == "revoked"


def test_a_task_whose_process_was_killed_runs_again_as_redelivered(caller, tmp_path):
    assert caller("call", "dies_once", [str(tmp_path / "mark")]) is True


def test_a_task_with_late_acks_is_taken_over_when_its_worker_is_killed(caller, settings, tmp_path, lines):
    started, release = tmp_path / "started", tmp_path / "release"
    sent = caller("send", "held", [str(started), str(release)], queue="late")
    doomed = Worker(settings, "doomed", "--queues", "late")
    lines(started, 1)
    os.killpg(doomed.process.pid, signal.SIGKILL)
    doomed.kill()
    heir = Worker(settings, "heir", "--queues", "late")
    try:
        lines(started, 2)
        release.touch()
        assert caller("result", sent) == "done"
    finally:
        heir.kill()


def test_a_worker_that_is_told_to_stop_finishes_and_gives_the_rest_back(caller, settings, tmp_path, lines):
    started, release, rest = (tmp_path / name for name in ("started", "release", "rest"))
    sent = caller("send", "held", [str(started), str(release)], queue="warm")
    caller("send", "note", [str(rest), "later"], queue="warm")
    stopping = Worker(settings, "stopping", "--queues", "warm")
    lines(started, 1)
    stopping.process.send_signal(signal.SIGTERM)
    release.touch()
    assert stopping.stop() == 0
    assert caller("result", sent) == "done"
    after = Worker(settings, "after", "--queues", "warm")
    try:
        assert lines(rest, 1) == ["later"]
    finally:
        after.kill()
