"""A Python process whose standard library is as it was: Kafka's clients bring threads and loops of their own.

The tests run under gevent. The body of a test marked `in_child` runs in such a process instead, with the values
of its fixtures, which must be of the kind that can be pickled. One process serves test after test; when a
body fails or takes too long, the next one gets a new process.
"""

import atexit
import functools
import importlib
import os
import pickle
import signal
import subprocess
import sys
import threading
import traceback

LONGEST_S = 120


def in_child(test):
    """*test*, its body run in a process without gevent."""

    @functools.wraps(test)
    def run(**fixtures):
        CHILD.run(test.__module__, test.__qualname__, fixtures)

    return run


class Child:
    """The process, started when it is first needed."""

    def __init__(self):
        self.process = None

    def run(self, module, name, fixtures):
        """Run the body of one test; raises AssertionError with the child's traceback."""
        if self.process is None:
            self._start()
        pickle.dump((module, name, fixtures), self.process.stdin)
        self.process.stdin.flush()
        # The abort makes the child print where each of its threads was.
        deadline = threading.Timer(LONGEST_S, self.process.send_signal, [signal.SIGABRT])
        deadline.start()
        try:
            failure = pickle.load(self.process.stdout)
        except EOFError:
            failure = f"the child ended: the test took longer than {LONGEST_S} s, or the client crashed"
        finally:
            deadline.cancel()
        if failure is not None:
            self.end()
            raise AssertionError(failure)

    def _start(self):
        environ = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
        command = [sys.executable, "-X", "faulthandler", "-m", __name__]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ)

    def end(self):
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdin.close()
            self.process.stdout.close()
            self.process = None


CHILD = Child()
atexit.register(CHILD.end)


def serve():
    """Run the bodies that stdin names; answer None or the traceback of each."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a client prints is no answer
    while True:
        try:
            module, name, fixtures = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        failure = None
        try:
            getattr(importlib.import_module(module), name).__wrapped__(**fixtures)
        except BaseException as error:
            trace = traceback.TracebackException.from_exception(error, capture_locals=True)
            failure = "".join(trace.format())
        pickle.dump(failure, answers)
        answers.flush()


if __name__ == "__main__":
    serve()
