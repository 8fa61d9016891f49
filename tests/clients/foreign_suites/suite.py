"""Running the suite of somebody else's library, from its source distribution, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
# The classes of all these suites are named so; their own settings ask for plugins that nothing here needs.
SETTINGS = "[pytest]\npython_classes = test_*\n"


def run_suite(toolchain, left_out, paths, tmp_path, *, environ, longest_s, words=()):
    """Run the tests at *paths* but those that the file *left_out* names; raises AssertionError unless all pass."""
    suite = toolchain.require()
    source = suite / "source"
    settings = tmp_path / "pytest.ini"
    settings.write_text(SETTINGS)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("COVERAGE_", "PORTASK_"))}
    search = (suite / "packages", source, HERE)
    environ = {
        **inherited,
        "PYTHONPATH": os.pathsep.join(map(str, search)),
        "PATH": os.pathsep.join([str(suite / "packages" / "bin"), inherited["PATH"]]),
        "LEFT_OUT": str(HERE / left_out),
        **environ,
    }
    command = (sys.executable, "-m", "pytest", "-c", settings, "--rootdir", source, "-p", "no:cacheprovider")
    output = ("-q", "--tb=short", "--show-capture=no", "--disable-warnings")
    done = subprocess.run(
        [*command, "-p", "plugin", *output, *words, *paths],
        cwd=source,
        env=environ,
        capture_output=True,
        text=True,
        timeout=longest_s,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
