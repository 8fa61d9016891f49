"""A program that speaks to the application: one command with arguments in JSON per line of input, one answer each.

It runs apart because the tests' process is patched by gevent, which Celery's own clients do not expect.
"""

import json
import sys
import time

from application import app
from celery import chain, chord, group, signature
from celery.exceptions import TaskRevokedError

LONGEST_S = 40


def send(name, args=(), **options):
    """Publish a task; its id."""
    return app.send_task(f"application.{name}", args=args, **options).id


def result(identifier):
    """What a task returned."""
    return app.AsyncResult(identifier).get(timeout=LONGEST_S)


def call(name, args=(), **options):
    """Run a task and wait for it."""
    return signature(f"application.{name}", args=args, app=app).apply_async(**options).get(timeout=LONGEST_S)


def fails(name, args=(), **options):
    """The name of the exception that a task ends with, or that a command here does."""
    try:
        COMMANDS[name](*args) if name in COMMANDS else call(name, args, **options)
    except Exception as error:
        return type(error).__name__
    return None


def run_chain(numbers):
    """Adds the numbers up, each link to what the one before it returned."""
    first, second, *rest = numbers
    add = app.tasks["application.add"]
    return chain(add.s(first, second), *(add.s(number) for number in rest)).apply_async().get(timeout=LONGEST_S)


def run_group(count):
    """Doubles of the numbers below count."""
    add = app.tasks["application.add"]
    return group(add.s(number, number) for number in range(count)).apply_async().get(timeout=LONGEST_S)


def run_chord(count):
    """The sum of the doubles."""
    add, total = app.tasks["application.add"], app.tasks["application.total"]
    return chord(add.s(number, number) for number in range(count))(total.s()).get(timeout=LONGEST_S)


def delay(seconds):
    """How long after it was due a task with a countdown ran."""
    due = time.time() + seconds
    return call("now", countdown=seconds) - due


def revoke(args):
    """Send a task that is not due yet, revoke it, and say what it ends with when it is."""
    sent = signature("application.add", args=args, app=app).apply_async(countdown=1)
    app.control.revoke(sent.id, reply=True, timeout=LONGEST_S, limit=1)
    try:
        return sent.get(timeout=LONGEST_S)
    except TaskRevokedError:
        return "revoked"


def inspect(what):
    """What the workers answer, without their names."""
    answers = getattr(app.control.inspect(timeout=LONGEST_S, limit=1), what)() or {}
    return list(answers.values())


def scheduled(args):
    """Send a task that is due in an hour and wait until a worker says that it holds it; its id."""
    sent = signature("application.add", args=args, app=app).apply_async(countdown=3600)
    deadline = time.monotonic() + LONGEST_S
    held = []
    while sent.id not in held and time.monotonic() < deadline:
        held = [task["request"]["id"] for tasks in inspect("scheduled") for task in tasks]
    if sent.id not in held:
        raise LookupError(f"no worker holds {sent.id}")
    return sent.id


COMMANDS = {
    "send": send,
    "result": result,
    "call": call,
    "fails": fails,
    "chain": run_chain,
    "group": run_group,
    "chord": run_chord,
    "delay": delay,
    "revoke": revoke,
    "inspect": inspect,
    "scheduled": scheduled,
    "ping": lambda: app.control.ping(timeout=LONGEST_S, limit=1),
    "purge": app.control.purge,
}


def main():
    for line in sys.stdin:
        name, args, options = json.loads(line)
        try:
            answer = {"answer": COMMANDS[name](*args, **options)}
        except Exception as error:
            answer = {"error": type(error).__name__, "message": str(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
