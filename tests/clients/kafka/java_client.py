"""Kafka's Java client in one process that serves all tests of a module: a virtual machine takes a second to start."""

import json
import subprocess
import threading

LONGEST_S = 60


class JavaError(Exception):
    """An exception of the client; `name` is its class."""

    def __init__(self, name, message):
        super().__init__(f"{name}: {message}")
        self.name = name


class JavaClient:
    """The program of java/, one command at a time."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, *words):
        """What the client answered; raises JavaError with what it threw."""
        self.process.stdin.write(json.dumps([str(word) for word in words]) + "\n")
        self.process.stdin.flush()
        deadline = threading.Timer(LONGEST_S, self.process.kill)
        deadline.start()
        try:
            line = self.process.stdout.readline()
        finally:
            deadline.cancel()
        assert line, f"{words}: no answer within {LONGEST_S} s"
        answer = json.loads(line)
        if "error" in answer:
            raise JavaError(answer["error"], answer["message"])
        return answer["answer"]

    def close(self):
        """End the process."""
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
