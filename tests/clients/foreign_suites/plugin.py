"""Plugin of the pytest that runs a suite which came with somebody else's library: it leaves out what a list names.

The list is the file that LEFT_OUT names. A line is what is left out, a tab and the reason. Left out is a test by its
id, a class or a parametrized test as a whole, or a file, which is not even imported; `skips:` before a text stands
for the tests that skip themselves with a reason that begins so. A line for something that does not exist is an
error, and so is a test that is skipped without such a line.
"""

import os
from pathlib import Path

import pytest

LIST = Path(os.environ["LEFT_OUT"])
SKIPS = "skips:"
LINES = [line.split("\t")[0] for line in LIST.read_text().splitlines()]
SKIP_REASONS = tuple(line.removeprefix(SKIPS).strip() for line in LINES if line.startswith(SKIPS))
NAMES = [line for line in LINES if not line.startswith(SKIPS)]


def pytest_ignore_collect(collection_path, config):
    # None leaves the decision to pytest.
    return True if collection_path in {config.rootpath / name for name in NAMES} else None


def pytest_collection_modifyitems(config, items):
    left_out, found = [], set()
    for item in items:
        names = [name for name in NAMES if item.nodeid == name or item.nodeid.startswith((f"{name}::", f"{name}["))]
        found.update(names)
        if names:
            left_out.append(item)
    unknown = [name for name in NAMES if name not in found and not (config.rootpath / name).is_file()]
    if unknown:
        raise pytest.UsageError(f"{LIST.name} names what is not there: {unknown}")
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if not reason.startswith(SKIP_REASONS):
            report.outcome = "failed"
            report.longrepr = f"{item.nodeid} was skipped without a line in {LIST.name}: {reason}"
    return report
