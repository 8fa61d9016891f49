"""A client as a program: one command per process, its answer JSON lines."""

import json
import subprocess

LONGEST_S = 60


class Program:
    """The program *command*, told where the broker is; called with a command and flags it returns what was printed."""

    def __init__(self, command, bootstrap, *, dashes="-", environ=None):
        self.command = [str(word) for word in command]
        self.bootstrap = bootstrap
        self.dashes = dashes
        self.environ = environ

    def __call__(self, name, /, **flags):
        """The lines that the command printed, as dictionaries; raises AssertionError when it failed."""
        done = self._run(name, flags)
        assert done.returncode == 0, f"{name} {flags}: {done.stderr}{done.stdout}"
        return [json.loads(line) for line in done.stdout.splitlines()]

    def failure(self, name, /, **flags):
        """What a command that fails says about it."""
        done = self._run(name, flags)
        assert done.returncode != 0, f"{name} {flags} went through: {done.stdout}"
        return done.stderr

    def _run(self, name, flags):
        given = {"bootstrap": self.bootstrap, **flags}
        words = [f"{self.dashes}{flag.replace('_', '-')}={value}" for flag, value in given.items()]
        command = [*self.command, name, *words]
        return subprocess.run(command, env=self.environ, capture_output=True, text=True, timeout=LONGEST_S, check=False)


def column(rows, name):
    """One field of all rows."""
    return [row[name] for row in rows]
