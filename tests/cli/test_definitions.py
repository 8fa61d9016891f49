"""`portask definitions` and `portask policy`."""

import json
import stat

import pytest


def queue(name, **fields):
    return {"name": name, "vhost": "/", "durable": True, **fields}


def write(tmp_path, definitions):
    file = tmp_path / "definitions.json"
    file.write_text(json.dumps(definitions))
    return file


def test_what_was_imported_is_exported(portask, tmp_path, topic):
    portask("definitions", "import", write(tmp_path, {"queues": [queue(topic)]}))
    exported = portask("definitions", "export", "-").json

    assert topic in [entry["name"] for entry in exported["queues"]]


def test_definitions_are_read_from_stdin(portask, topic):
    data = json.dumps({"queues": [queue(topic)]}).encode()
    outcome = portask("definitions", "import", "-", "--output", "json", stdin=data).json

    assert outcome == {"imported": {"queues": 1}, "failed": [], "ignored": []}


def test_a_file_with_a_broken_entry_ends_with_1_and_names_it(portask, tmp_path, topic):
    file = write(tmp_path, {"shovels": [], "queues": [queue(topic), queue("x", durable=7)]})
    done = portask("definitions", "import", file, code=1)

    assert [line.split() for line in done.lines] == [["LIST", "IMPORTED", "FAILED"], ["queues", "1", "1"]]
    assert done.err.splitlines() == [
        "portask: ignored: shovels",
        "portask: not imported: queues[1] 'x' in vhost '/': durable must be true or false, not 7",
        "portask: 1 entries were not imported; correct them and import the file again",
    ]


def test_a_large_file_goes_in_parts_and_its_entries_keep_their_numbers(portask, tmp_path, topic):
    entries = [queue(f"{topic}-{number}") for number in range(1100)]
    entries[1007] = queue("x", durable=7)
    entries[1008] = queue("amq.x")
    file = write(tmp_path, {"queues": entries, "global_parameters": [{"name": topic, "value": [1]}]})
    outcome = portask("definitions", "import", file, "--output", "json", code=1).json

    assert outcome["imported"] == {"global_parameters": 1, "queues": 1098}
    assert [failure["number"] for failure in outcome["failed"]] == [1007]
    assert outcome["ignored"] == ["queues[1008]: 'amq.x' in vhost '/' has a reserved name"]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "holds no definitions"),
        ('{"queues": {}}', "queues must be a list"),
    ],
)
def test_a_file_without_definitions_is_refused(portask, tmp_path, content, text):
    file = tmp_path / "definitions.json"
    file.write_text(content)

    assert text in portask("definitions", "import", file, code=2).err


def test_a_missing_file_is_not_found(portask, tmp_path):
    assert "check the path" in portask("definitions", "import", tmp_path / "none.json", code=3).err


def test_an_unknown_virtual_host_is_refused(portask, tmp_path):
    assert "vhost none not found" in portask("definitions", "export", "-", "--vhost", "none", code=2).err
    file = write(tmp_path, {})
    assert "vhost none not found" in portask("definitions", "import", file, "--vhost", "none", code=2).err


def test_an_export_is_for_its_owner_and_replaces_nothing_unasked(portask, tmp_path):
    file = tmp_path / "all.json"
    portask("definitions", "export", file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600

    assert "replace it with --force" in portask("definitions", "export", file, code=2).err
    counts = portask("definitions", "export", file, "--force", "--output", "json").json
    assert counts["vhosts"] == len(json.loads(file.read_text())["vhosts"])
    assert list(tmp_path.iterdir()) == [file]


def test_a_policy_is_set_listed_and_removed(portask, topic):
    said = portask(
        "policy", "set", topic, "^x", '{"max-length": 5}', "--priority", "3", "--apply-to", "queues", "--output", "json"
    ).json
    listed = [entry for entry in portask("policy", "ls", "--output", "jsonl").jsonl if entry["name"] == topic]

    assert listed == [{**said, "kind": "policy"}]
    removed = portask("policy", "rm", topic, "--output", "json").json
    assert removed == {"vhost": "/", "removed": topic}
    assert "no policy" in portask("policy", "rm", topic, code=3).err


def test_an_operator_policy_is_another_one(portask, topic):
    portask("policy", "set", topic, "", '{"max-length": 5}', "--operator")
    assert "no policy" in portask("policy", "rm", topic, code=3).err

    listed = [entry for entry in portask("policy", "ls", "--output", "jsonl").jsonl if entry["name"] == topic]
    assert [entry["kind"] for entry in listed] == ["operator"]
    portask("policy", "rm", topic, "--operator")


@pytest.mark.parametrize(
    ("definition", "text"),
    [
        ("{", "is not JSON"),
        ("[]", "definition is empty"),
        ("7", "must be an object"),
        ('{"a": 1}', "not a policy setting"),
    ],
)
def test_a_policy_that_cannot_be_is_refused(portask, topic, definition, text):
    assert text in portask("policy", "set", topic, "", definition, code=2).err
