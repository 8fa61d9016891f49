"""The suites are asked last; those that mostly wait have run beside all other tests by then."""

from contextlib import suppress
from pathlib import Path

import pytest

from tests.clients.foreign_suites.suites import SUITES

HERE = Path(__file__).parent


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.parent == HERE)


def pytest_collection_finish(session):
    if session.config.option.collectonly:
        return
    for item in session.items:
        suite = SUITES[item.callspec.params["suite"]] if item.path.parent == HERE else None
        if suite is not None and suite.starts_early:
            session.config.add_cleanup(suite.stop)
            # What is missing is said by the test itself, when its turn comes.
            with suppress(pytest.skip.Exception, pytest.fail.Exception):
                suite.start()
