"""`portask topic` and `portask group`."""


def test_created_topic_is_listed_and_shown(portask, topic):
    portask("topic", "create", topic, "--partitions", "3", "--set", "zstd_level=9")

    (listed,) = portask("topic", "ls", topic, "--output", "jsonl").jsonl
    assert (listed["name"], len(listed["partitions"]), listed["settings"]) == (topic, 3, {"zstd_level": "9"})
    assert portask("topic", "show", topic, "--output", "json").json == listed


def test_table_has_a_line_for_each_topic(portask, topic):
    portask("topic", "create", topic, "--partitions", "3")

    head, line = (line.split() for line in portask("topic", "ls", topic).lines)
    assert head[:3] == ["NAME", "PARTITIONS", "MESSAGES"]
    assert line[:3] == [topic, "3", "0"]


def test_shown_topic_has_a_line_for_each_partition(portask, topic):
    portask("topic", "create", topic, "--partitions", "2")
    portask("pub", topic, "one", "--partition", "1")

    assert [line.split() for line in portask("topic", "show", topic).lines[-2:]] == [
        ["0", "0", "0", "0"],
        ["1", "0", "1", "1"],
    ]


def test_altered_setting_can_be_taken_back(portask, topic):
    portask("topic", "create", topic)

    altered = portask("topic", "alter", topic, "--set", "zstd_level=7", "--output", "json").json
    assert altered["settings"] == {"zstd_level": "7"}
    restored = portask("topic", "alter", topic, "--set", "zstd_level=", "--output", "json").json
    assert restored["settings"] == {}


def test_removed_topic_is_gone(portask, topic):
    portask("topic", "create", topic)

    assert portask("topic", "rm", topic, "--output", "jsonl").jsonl == [{"removed": topic}]

    assert "no topic" in portask("topic", "show", topic, code=3).err


def test_topic_that_exists_is_not_created_again(portask, topic):
    portask("topic", "create", topic)

    assert "exists" in portask("topic", "create", topic, code=1).err


def test_listing_a_topic_that_is_not_there_names_it(portask, topic):
    assert topic in portask("topic", "ls", topic, code=3).err


def test_impossible_name_is_a_usage_error(portask):
    portask("topic", "create", "no spaces", code=2)


def test_setting_without_a_value_is_a_usage_error(portask, topic):
    assert "NAME=VALUE" in portask("topic", "create", topic, "--set", "zstd_level", code=2).err


def test_unknown_setting_names_the_nearest(portask, topic):
    assert "zstd_level" in portask("topic", "create", topic, "--set", "zstd_levl=1", code=2).err


def test_group_is_listed_shown_and_removed(portask, topic):
    portask("pub", topic, "one", "--quiet")
    portask("sub", topic, "--group", "readers", "--count", "1")

    (listed,) = portask("group", "ls", topic, "--output", "jsonl").jsonl
    assert (listed["topic"], listed["name"], listed["lag"]) == (topic, "readers", 0)
    assert portask("group", "show", topic, "readers", "--output", "json").json == listed
    assert portask("group", "show", topic, "readers").lines[-1].split() == ["0", "1", "1", "0", "0", "0", "0"]
    assert portask("group", "rm", topic, "readers", "--output", "json").json == {"topic": topic, "removed": "readers"}
    assert portask("group", "ls", topic, "--output", "json").json == []


def test_group_that_is_not_there_is_not_found(portask, topic):
    portask("topic", "create", topic)

    portask("group", "show", topic, "nobody", code=3)
    portask("group", "rm", topic, "nobody", code=3)
