"""Parameters: what is kept for those who ask."""

import pytest

from portask.definitions.parameters import PARAMETERS, Parameter
from portask.errors import CorruptError, NotFoundError, PreconditionError
from portask.message import encode_cbor
from portask.storage.base import Round
from portask.storage.memory import MemoryStorage

SHOVEL = Parameter("/", "shovel", "mine")
NAME = Parameter(None, None, "cluster_name")


def test_everything_comes_back_after_a_restart(make_broker):
    storage = MemoryStorage()
    parameters = make_broker(storage=storage).parameters
    parameters.put(SHOVEL, {"src": ["a", 1 << 70, None, 1.5], "on": True})
    parameters.put(NAME, "rabbit@host")
    parameters.put(Parameter("/", "shovel", "gone"), 1)
    parameters.delete(Parameter("/", "shovel", "gone"))

    assert make_broker(storage=storage).parameters.items() == [
        (NAME, "rabbit@host"),
        (SHOVEL, {"src": ["a", 1 << 70, None, 1.5], "on": True}),
    ]


def test_a_parameter_is_found_by_all_its_names(broker):
    broker.parameters.put(SHOVEL, 1)
    broker.parameters.put(SHOVEL, 2)

    assert broker.parameters.get(SHOVEL) == 2
    with pytest.raises(NotFoundError, match="no parameter 'mine'"):
        broker.parameters.get(Parameter("other", "shovel", "mine"))
    with pytest.raises(NotFoundError, match="no parameter 'mine'"):
        broker.parameters.delete(Parameter(None, None, "mine"))


@pytest.mark.parametrize(
    "parameter", [Parameter("/", "", "x"), Parameter(None, None, "\ud800"), Parameter("x" * 256, "a", "b")]
)
def test_a_name_that_cannot_be_is_refused(broker, parameter):
    with pytest.raises(PreconditionError, match="name of a parameter"):
        broker.parameters.put(parameter, 1)


@pytest.mark.parametrize(("value", "text"), [(float("inf"), "number"), (float("nan"), "number"), ([], "levels")])
def test_a_value_that_cannot_be_stored_is_refused(broker, value, text):
    if value == []:
        for _ in range(40):
            value = [value]
    with pytest.raises(PreconditionError, match=text):
        broker.parameters.put(SHOVEL, value)


def test_a_virtual_host_takes_its_parameters_along(broker):
    broker.parameters.put(SHOVEL, 1)
    broker.parameters.put(NAME, 1)
    round_ = Round()
    broker.parameters.collect_virtual_host_deletion("/", round_)
    broker.parameters.forget_virtual_host("/")

    assert broker.parameters.items() == [(NAME, 1)]
    assert list(round_.puts.values()) == [None]


@pytest.mark.parametrize("row", [b"not JSON", b"\xff"])
@pytest.mark.parametrize("key", [["/", "shovel", "mine"], ["/", "shovel"], 7])
def test_a_broken_row_stops_the_start_with_its_table(make_broker, key, row):
    storage = MemoryStorage()
    storage.open()
    round_ = Round()
    round_.puts[PARAMETERS, encode_cbor(key)] = row
    storage.write(round_)
    storage.close()

    with pytest.raises(CorruptError, match="table parameters"):
        make_broker(storage=storage)
