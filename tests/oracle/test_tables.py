"""Our tables against those of kafka-python and kio, field by field."""

import pytest
from kio.index import KioIndexError

from tests.oracle.rows import (
    MESSAGES,
    NEWER_THAN_THE_ORACLES,
    OLDER_THAN_THE_ORACLES,
    definition_rows,
    kio_class,
    kio_rows,
    load_definition,
    our_rows,
    version_range,
)

KIO_LACKS = {
    # The definition has a default of null, which kio takes for arrays of plain values only.
    ("ListPartitionReassignmentsRequest", "topics"): {"default": []},
}

ids = [message.name for message in MESSAGES]


def as_in_kio(message, row):
    return row._replace(**KIO_LACKS.get((message.name, row.path), {}))


def all_versions(message):
    return range(message.versions.first, message.versions.last + 1)


@pytest.mark.parametrize("message", MESSAGES, ids=ids)
def test_fields_are_those_of_the_upstream_definition(message):
    definition = load_definition(message.name)

    for version in all_versions(message):
        if (message.name, version) not in NEWER_THAN_THE_ORACLES:
            assert our_rows(message, version) == definition_rows(definition, version), version


@pytest.mark.parametrize("message", MESSAGES, ids=ids)
def test_fields_are_those_of_kio(message):
    for version in all_versions(message):
        if (message.name, version) not in NEWER_THAN_THE_ORACLES | OLDER_THAN_THE_ORACLES:
            ours = [as_in_kio(message, row) for row in our_rows(message, version)]
            assert ours == list(kio_rows(kio_class(message, version))), version


@pytest.mark.parametrize("message", MESSAGES, ids=ids)
def test_versions_are_those_of_the_upstream_definition(message):
    definition = load_definition(message.name)
    first, last = version_range(definition["validVersions"])
    flexible = version_range(definition["flexibleVersions"])
    newer = [version for version in all_versions(message) if (message.name, version) in NEWER_THAN_THE_ORACLES]
    older = [version for version in all_versions(message) if (message.name, version) in OLDER_THAN_THE_ORACLES]

    assert message.versions == (first - len(older), last + len(newer))
    assert message.flexible == (None if flexible == (0, -1) else flexible[0])


@pytest.mark.parametrize(("name", "version"), sorted(NEWER_THAN_THE_ORACLES))
def test_version_that_oracles_lack_is_one_that_they_lack(name, version):
    message = next(message for message in MESSAGES if message.name == name)

    with pytest.raises(KioIndexError):
        kio_class(message, version)
