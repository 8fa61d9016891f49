"""Work in the thread pool: what comes back from there."""

import pytest

from portask.errors import ProtocolError
from portask.offload import begin_offload, offload


def refuse(text):
    raise ProtocolError(text)


def test_what_a_function_returns_comes_back():
    assert offload(divmod, 7, 2) == (3, 1)


def test_what_a_function_raises_is_raised_where_it_is_waited_for_and_printed_nowhere(capfd):
    wait = begin_offload(refuse, "broken")

    with pytest.raises(ProtocolError, match="broken"):
        wait()
    assert capfd.readouterr().err == ""
