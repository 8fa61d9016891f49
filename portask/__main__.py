"""The `portask` command.

`serve` runs on gevent, so the standard library is patched before anything else is imported; every
other command is an ordinary program with blocking sockets and never loads gevent.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that *argv* names and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["serve"]:
        from gevent import monkey

        monkey.patch_all()
    from portask.cli.command import run

    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
