"""Definitions: what a file declares is there afterwards, what is there is in the file, and what cannot be is named."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from portask.catalog import commit
from portask.definitions.definitions import export_definitions
from portask.definitions.definitions_import import import_definitions
from portask.definitions.lists import SECTIONS
from portask.definitions.parameters import Parameter
from portask.definitions.policy import Policy
from portask.errors import NotAllowedError, PreconditionError, ShuttingDownError, StorageFullError
from portask.storage.memory import MemoryStorage
from portask.users import Permission, TopicPermission

HERE = Path(__file__).parent
# As RabbitMQ 3.10.8 exported them by its HTTP API, without what it had in other virtual hosts.
RABBITMQ = json.loads((HERE / "rabbitmq_3_10.json").read_text())
RABBITMQ_VIRTUAL_HOST = json.loads((HERE / "rabbitmq_3_10_vhost.json").read_text())


@pytest.fixture
def host(broker):
    return broker.virtual_hosts.get("/")


def queue(name="q", **fields):
    return {"name": name, "vhost": "/", "durable": True, "auto_delete": False, "arguments": {}, **fields}


def exchange(name="x", **fields):
    return {
        "name": name,
        "vhost": "/",
        "type": "topic",
        "durable": True,
        "auto_delete": False,
        "arguments": {},
        **fields,
    }


def binding(**fields):
    return {
        "source": "x",
        "vhost": "/",
        "destination": "q",
        "destination_type": "queue",
        "routing_key": "k",
        "arguments": {},
        **fields,
    }


def without_remarks(definitions):
    """The lists, their entries in an order that does not depend on who wrote them."""
    return {
        section: sorted(entries, key=lambda entry: json.dumps(entry, sort_keys=True))
        for section, entries in definitions.items()
        if section in SECTIONS
    }


# -- files of RabbitMQ -----------------------------------------------------------------------------


def test_a_file_of_rabbitmq_is_imported_as_a_whole(broker):
    outcome = import_definitions(broker, RABBITMQ)

    assert outcome.failed == outcome.ignored == []
    assert outcome.imported == {section: len(RABBITMQ[section]) for section in SECTIONS}


def test_a_user_of_rabbitmq_logs_in_with_its_password(broker):
    import_definitions(broker, RABBITMQ)

    assert broker.users.authenticate("ann", "s3cr3t")
    assert broker.users.get("ann").tags == ("monitoring", "policymaker")
    assert broker.users.get("ann").limits == {"max-connections": 10}
    assert not broker.users.authenticate("bob", "")


def test_permissions_of_rabbitmq_are_kept(broker):
    import_definitions(broker, RABBITMQ)

    assert Permission("ann", "shop", "^ann-", ".*", ".*") in broker.users.permissions()
    assert broker.users.topic_permissions() == [TopicPermission("ann", "shop", "amq.topic", "^ann", ".*")]


def test_queues_of_rabbitmq_work_by_their_arguments_and_policies(broker):
    import_definitions(broker, RABBITMQ)
    queues = broker.virtual_hosts.get("shop").queues

    assert queues.get("orders").settings.message_ttl_ms == 1000
    assert queues.get("orders").settings.max_length == 5000
    assert queues.get("orders").settings.overflow == "reject-publish"
    assert queues.get("orders").settings.dead_letter_exchange == "lost"
    assert queues.get("safe").settings.delivery_limit == 7
    assert queues.get("log").type == "stream"
    assert not queues.get("passing").durable
    assert queues.get("größe/ä b").durable


def test_messages_go_where_the_bindings_of_rabbitmq_lead(broker):
    import_definitions(broker, RABBITMQ)
    host = broker.virtual_hosts.get("shop")
    route = host.route(host.exchange("events"), ["order.new"], b"")

    assert [queue.name for queue in route.destinations] == ["orders"]


def test_parameters_of_rabbitmq_are_kept(broker):
    import_definitions(broker, RABBITMQ)

    assert broker.parameters.get(Parameter("shop", "vhost-limits", "limits")) == {"max-queues": 100}
    assert broker.policies.policies(operator=True) == [Policy("shop", "cap", ".*", {"max-length": 5000}, "queues", 0)]


def test_what_was_imported_from_rabbitmq_is_exported_again(broker):
    import_definitions(broker, RABBITMQ)
    exported = without_remarks(export_definitions(broker))

    for section, entries in without_remarks(RABBITMQ).items():
        for entry in entries:
            assert any(entry.items() <= known.items() for known in exported[section]), (section, entry)


def test_the_file_of_a_virtual_host_is_imported_into_any(broker):
    broker.virtual_hosts.create("copy")
    outcome = import_definitions(broker, RABBITMQ_VIRTUAL_HOST, "copy")

    assert outcome.failed == outcome.ignored == []
    assert len(broker.virtual_hosts.get("copy").queues) == len(RABBITMQ_VIRTUAL_HOST["queues"])
    assert {policy.virtual_host for policy in broker.policies.policies()} == {"copy"}
    assert len(broker.virtual_hosts.get("/").queues) == 0


# -- there and back --------------------------------------------------------------------------------


def test_an_export_imported_elsewhere_exports_the_same(broker, make_broker):
    import_definitions(broker, RABBITMQ)
    broker.virtual_hosts.create("/", {"description": "all", "tags": ["a", "b"], "default_queue_type": "quorum"})
    first = json.loads(json.dumps(export_definitions(broker)))
    other = make_broker()
    outcome = import_definitions(other, first)

    assert outcome.failed == outcome.ignored == []
    assert without_remarks(export_definitions(other)) == without_remarks(first)


def test_an_import_may_be_repeated(broker):
    import_definitions(broker, RABBITMQ)
    first = export_definitions(broker)
    outcome = import_definitions(broker, RABBITMQ)

    assert outcome.failed == []
    assert export_definitions(broker) == first


def test_the_export_of_a_virtual_host_is_imported_into_another(broker):
    import_definitions(broker, RABBITMQ)
    first = json.loads(json.dumps(export_definitions(broker, "shop")))
    broker.virtual_hosts.create("copy")
    outcome = import_definitions(broker, first, "copy")
    again = export_definitions(broker, "copy")

    assert outcome.failed == outcome.ignored == []
    assert without_remarks(again) == without_remarks(first)
    assert not any("vhost" in entry for entries in without_remarks(first).values() for entry in entries)


def test_what_was_imported_is_there_after_a_restart(make_broker):
    storage = MemoryStorage()
    broker = make_broker(storage=storage)
    import_definitions(broker, RABBITMQ)
    broker.virtual_hosts.create("shop", {"description": "The shop"})
    first = without_remarks(export_definitions(broker))
    for section in ("queues", "exchanges"):
        first[section] = [entry for entry in first[section] if entry["durable"]]

    assert without_remarks(export_definitions(make_broker(storage=storage))) == first


def test_a_new_broker_exports_its_user_and_its_virtual_host(broker):
    exported = export_definitions(broker)

    assert [user["name"] for user in exported["users"]] == ["guest"]
    assert [entry["name"] for entry in exported["vhosts"]] == ["/"]
    assert exported["queues"] == exported["exchanges"] == exported["bindings"] == []


def test_an_exclusive_queue_is_not_exported_nor_what_leads_to_it(broker, host):
    host.queues.declare("mine", exclusive=True, owner=object())
    host.bind("amq.fanout", "queue", "mine", "")

    exported = export_definitions(broker)
    assert exported["queues"] == exported["bindings"] == []


def test_an_unknown_virtual_host_cannot_be_exported_nor_imported_into(broker):
    with pytest.raises(NotAllowedError, match="vhost shop not found"):
        export_definitions(broker, "shop")
    with pytest.raises(NotAllowedError, match="vhost shop not found"):
        import_definitions(broker, {}, "shop")


def test_names_that_are_not_utf8_come_through(broker, make_broker, host):
    host.queues.declare("\udcff", durable=True)
    host.declare_exchange("x", "topic", durable=True)
    host.bind("x", "queue", "\udcff", "\udcfe")
    other = make_broker()
    outcome = import_definitions(other, json.loads(json.dumps(export_definitions(broker))))

    assert outcome.failed == []
    assert other.virtual_hosts.get("/").queues.get("\udcff").durable
    assert other.virtual_hosts.get("/").route(other.virtual_hosts.get("/").exchange("x"), ["\udcfe"], b"").is_routed


# -- what older and other files look like ------------------------------------------------------------


@pytest.mark.parametrize("tags", ["a, b", "a,b", ["a", "b"]])
def test_tags_are_a_list_or_words_with_commas(broker, tags):
    import_definitions(broker, {"users": [{"name": "ann", "password_hash": "", "tags": tags}]})

    assert broker.users.get("ann").tags == ("a", "b")


@pytest.mark.parametrize(
    ("version", "algorithm"), [("3.5.8", "md5"), ("2.8.1", "md5"), ("3.6.0", "sha256"), ("3.10.8", "sha256")]
)
def test_the_algorithm_follows_from_the_version_where_the_file_is_too_old_to_say(broker, version, algorithm):
    import_definitions(broker, {"rabbit_version": version, "users": [{"name": "ann", "password_hash": ""}]})

    assert broker.users.get("ann").algorithm == f"rabbit_password_hashing_{algorithm}"


def test_a_password_may_stand_in_place_of_its_hash(broker):
    import_definitions(broker, {"users": [{"name": "ann", "password": "s3cr3t"}]})

    assert broker.users.authenticate("ann", "s3cr3t")


def test_what_is_said_about_a_virtual_host_is_kept(broker):
    said = {"description": "The shop", "tags": ["eu"], "default_queue_type": "quorum"}
    import_definitions(broker, {"vhosts": [{"name": "a", "metadata": said}, {"name": "b", **said, "tags": "eu"}]})

    for name in "ab":
        (entry,) = [entry for entry in export_definitions(broker)["vhosts"] if entry["name"] == name]
        assert entry == {"name": name, **said, "metadata": said, "limits": []}


def test_what_a_file_does_not_say_about_a_virtual_host_stays(broker):
    import_definitions(broker, {"vhosts": [{"name": "a", "description": "The shop", "tags": ["eu"]}]})
    import_definitions(broker, {"vhosts": [{"name": "a"}]})
    import_definitions(broker, {"vhosts": [{"name": "a", "tags": ["us"]}]})

    assert broker.virtual_hosts.get("a").metadata == {"description": "The shop", "tags": ["us"]}


def test_a_virtual_host_whose_limits_cannot_be_stored_is_not_made(broker):
    outcome = import_definitions(broker, {"vhosts": [{"name": "a", "limits": {"max-queues": float("nan")}}]})

    assert [failure["name"] for failure in outcome.failed] == ["'a'"]
    assert broker.virtual_hosts.find("a") is None


@pytest.mark.parametrize("limits", [{"max-queues": 5}, [{"name": "max-queues", "value": 5}]])
def test_limits_of_a_virtual_host_are_kept(broker, limits):
    import_definitions(broker, {"vhosts": [{"name": "a", "limits": limits}]})

    assert broker.parameters.get(Parameter("a", "vhost-limits", "limits")) == {"max-queues": 5}


@pytest.mark.parametrize("name", ["quorum", "rabbit_quorum_queue"])
def test_the_type_of_a_queue_may_stand_beside_its_arguments(broker, host, name):
    import_definitions(broker, {"queues": [queue(type=name)]})

    assert host.queues.get("q").type == "quorum"


def test_empty_lists_stand_for_empty_objects(broker, host):
    import_definitions(broker, {"queues": [queue(arguments=[])]})

    assert host.queues.get("q").arguments == {}


def test_lists_may_be_missing_or_null(broker):
    assert import_definitions(broker, {"queues": None}).as_json() == {"imported": {}, "failed": [], "ignored": []}


def test_arguments_of_every_type_come_through(broker, make_broker, host):
    arguments = {"x-own": {"list": [1, -(1 << 40), 1.5, True, None, "ä"], "table": {"a": {}}}}
    import_definitions(broker, {"queues": [queue(arguments=arguments)]})
    other = make_broker()
    import_definitions(other, json.loads(json.dumps(export_definitions(broker))))

    assert other.virtual_hosts.get("/").queues.get("q").arguments == arguments


def test_arguments_that_json_has_no_word_for_are_exported_as_it_can_say_them(broker, host):
    arguments = {
        "bytes": b"\xff\x00",
        "time": datetime.fromtimestamp(1_700_000_000, UTC),
        "decimal": Decimal("1.25"),
        "list": [b"a", {"b": Decimal(2)}],
    }
    host.queues.declare("q", durable=True, arguments=arguments)

    assert export_definitions(broker)["queues"][0]["arguments"] == {
        "bytes": "\udcff\x00",
        "time": 1_700_000_000,
        "decimal": 1.25,
        "list": ["a", {"b": 2.0}],
    }


# -- what is left out, and named ---------------------------------------------------------------------


def test_what_has_no_meaning_here_is_named(broker):
    outcome = import_definitions(
        broker,
        {
            "rabbit_version": "3.10.8",
            "shovels": [],
            "queues": [queue("amq.gen-x"), queue(shape="round")],
            "exchanges": [exchange("amq.topic"), exchange("")],
            "bindings": [binding(source="")],
        },
    )

    assert outcome.ignored == [
        "shovels",
        "exchanges[0]: 'amq.topic' in vhost '/' is predeclared",
        "exchanges[1]: '' in vhost '/' is predeclared",
        "queues[0]: 'amq.gen-x' in vhost '/' has a reserved name",
        "queues[1].shape",
        "bindings[0]: the default exchange leads to every queue",
    ]
    assert outcome.failed == []
    assert outcome.imported == {"exchanges": 0, "queues": 1, "bindings": 0}


def test_users_are_not_imported_into_a_virtual_host(broker):
    outcome = import_definitions(broker, {"users": [{"name": "ann", "password": "x"}], "queues": [queue()]}, "/")

    assert outcome.ignored == ["users"]
    assert "ann" not in broker.users


# -- what cannot be ----------------------------------------------------------------------------------

BROKEN = [
    ("users", {"name": "ann"}, "'ann'", "password_hash is missing"),
    ("users", {"name": "ann", "password_hash": "?"}, "'ann'", "password_hash is not base64"),
    ("users", {"name": 7, "password_hash": ""}, "''", "name must be text, not 7"),
    ("users", {"password_hash": ""}, "''", "name is missing"),
    ("users", {"name": "ann", "password_hash": "", "tags": [1]}, "'ann'", "tags must be a list of texts, not [1]"),
    ("users", {"name": "ann", "password_hash": "", "limits": 7}, "'ann'", "limits must be an object, not 7"),
    ("users", "ann", "", "an entry is a JSON object, not 'ann'"),
    ("vhosts", {"name": ""}, "''", "name must be 1 to 255 bytes long, not 0"),
    ("vhosts", {"name": "\ud800"}, "'\\ud800'", "name '\\ud800' cannot be written as UTF-8"),
    ("vhosts", {"name": "a", "description": "\ud800"}, "'a'", "metadata '\\ud800' cannot be written as UTF-8"),
    (
        "permissions",
        {"user": "nobody", "vhost": "/", "configure": "", "write": "", "read": ""},
        "'nobody' in vhost '/'",
        "no user 'nobody'",
    ),
    (
        "permissions",
        {"user": "guest", "vhost": "gone", "configure": "", "write": "", "read": ""},
        "'guest' in vhost 'gone'",
        "there is no virtual host 'gone'",
    ),
    (
        "permissions",
        {"user": "guest", "vhost": "/", "write": "", "read": ""},
        "'guest' in vhost '/'",
        "configure is missing",
    ),
    (
        "permissions",
        {"user": "guest", "vhost": "/", "configure": "a{99999999999999999999}", "write": "", "read": ""},
        "'guest' in vhost '/'",
        "'a{99999999999999999999}' is no regular expression: the repetition number is too large",
    ),
    ("exchanges", exchange(type="x-consistent-hash", arguments={"x-algorithm": []}), "'x' in vhost '/'", None),
    (
        "topic_permissions",
        {"user": "guest", "vhost": "gone", "exchange": "x", "write": "", "read": ""},
        "'guest' in vhost 'gone'",
        "there is no virtual host 'gone'",
    ),
    ("exchanges", exchange(type="square"), "'x' in vhost '/'", "unknown exchange type 'square'"),
    ("exchanges", exchange(durable="yes"), "'x' in vhost '/'", "durable must be true or false, not 'yes'"),
    ("exchanges", exchange("x" * 256), f"'{'x' * 256}' in vhost '/'", "name has 256 bytes, 255 are the most"),
    ("global_parameters", {"value": 1}, "''", "name is missing"),
    ("global_parameters", {"name": "n"}, "'n'", "value is missing"),
    ("policies", {"vhost": "/", "name": "p", "pattern": "("}, "'p' in vhost '/'", None),
    (
        "policies",
        {"vhost": "/", "name": "p", "pattern": "", "definition": {"message-tll": 1}},
        "'p' in vhost '/'",
        "'message-tll' is not a policy setting",
    ),
    (
        "policies",
        {"vhost": "gone", "name": "p", "pattern": "", "definition": {"expires": 1}},
        "'p' in vhost 'gone'",
        "there is no virtual host 'gone'",
    ),
    ("parameters", {"vhost": "/", "component": "", "name": "n", "value": 1}, "'n' in vhost '/'", None),
    (
        "parameters",
        {
            "vhost": "/",
            "component": "operator_policy",
            "name": "n",
            "value": {"pattern": "", "definition": {"max-age": "1D"}},
        },
        "'n' in vhost '/'",
        "'max-age' is not a setting of operator policies",
    ),
    ("queues", queue(vhost="gone"), "'q' in vhost 'gone'", "there is no virtual host 'gone'"),
    ("queues", queue(vhost=None), "'q'", "vhost is missing"),
    ("queues", queue(durable=None), "'q' in vhost '/'", "durable is missing"),
    ("queues", queue(""), "'' in vhost '/'", "name is empty"),
    ("queues", queue("\ud800"), "'\\ud800' in vhost '/'", "name '\\ud800' cannot be written as UTF-8"),
    (
        "queues",
        queue(arguments={"x-message-ttl": -1}),
        "'q' in vhost '/'",
        "invalid arg 'x-message-ttl' for queue 'q' in vhost '/': {value_negative,-1}",
    ),
    ("queues", queue(arguments={"a": 1 << 70}), "'q' in vhost '/'", None),
    ("queues", queue(arguments={"a": "\ud800"}), "'q' in vhost '/'", None),
    ("queues", queue(arguments={"a" * 256: 1}), "'q' in vhost '/'", None),
    ("queues", queue(arguments="none"), "'q' in vhost '/'", "arguments must be an object, not 'none'"),
    ("bindings", binding(), "'x' -> 'q' in vhost '/'", "no exchange 'x' in vhost '/'"),
    ("bindings", binding(source="amq.topic"), "'amq.topic' -> 'q' in vhost '/'", "no queue 'q' in vhost '/'"),
    (
        "bindings",
        binding(destination_type="topic"),
        "'x' -> 'q' in vhost '/'",
        "destination_type must be queue or exchange, not 'topic'",
    ),
]


@pytest.mark.parametrize(("section", "entry", "name", "error"), BROKEN)
def test_a_broken_entry_is_named_and_the_others_are_imported(broker, section, entry, name, error):
    before = without_remarks(export_definitions(broker))
    others = {
        "users": {"name": "good", "password_hash": ""},
        "vhosts": {"name": "good"},
        "permissions": {"user": "guest", "vhost": "/", "configure": "a", "write": "b", "read": "c"},
        "topic_permissions": {"user": "guest", "vhost": "/", "exchange": "x", "write": "b", "read": "c"},
        "exchanges": exchange("good"),
        "global_parameters": {"name": "good", "value": 1},
        "policies": {"vhost": "/", "name": "good", "pattern": "", "definition": {"expires": 1}},
        "parameters": {"vhost": "/", "component": "c", "name": "good", "value": 1},
        "queues": queue("good"),
        "bindings": binding(source="amq.topic", destination="amq.fanout", destination_type="exchange"),
    }
    outcome = import_definitions(broker, {section: [others[section], entry, others[section]]})
    after = without_remarks(export_definitions(broker))

    (failure,) = outcome.failed
    assert (failure["section"], failure["number"], failure["name"]) == (section, 1, name)
    assert error is None or failure["error"] == error
    assert outcome.imported == {section: 2}
    assert {kind for kind in SECTIONS if after[kind] != before[kind]} == {section}


def test_what_is_there_and_different_is_named_and_stays(broker, host):
    host.queues.declare("q", durable=True, arguments={"x-max-length": 5})
    outcome = import_definitions(broker, {"queues": [queue()]})

    (failure,) = outcome.failed
    assert failure["error"].startswith("inequivalent arg 'x-max-length' for queue 'q' in vhost '/'")
    assert host.queues.get("q").arguments == {"x-max-length": 5}


class FullStorage(MemoryStorage):
    """Memory that refuses every write while it is full."""

    is_full = False

    def write(self, round_):
        if self.is_full:
            raise StorageFullError("no space left")
        super().write(round_)


def test_an_import_that_failed_goes_on_with_nothing(make_broker):
    storage = FullStorage()
    broker = make_broker(storage=storage)
    storage.is_full = True
    with pytest.raises(StorageFullError):
        import_definitions(broker, {"queues": [queue(f"q{number}") for number in range(200)]})
    storage.is_full = False
    commit(broker.bus, lambda round_: None)
    commit(broker.bus, lambda round_: None)

    assert len(broker.virtual_hosts.get("/").queues) == 0


@pytest.mark.parametrize("definitions", [[], "x", None, {"queues": {}}, {"users": "ann"}])
def test_what_is_no_definitions_at_all_is_refused(broker, definitions):
    with pytest.raises(PreconditionError, match=r"JSON object|must be a list"):
        import_definitions(broker, definitions)


def test_an_import_ends_when_nothing_can_be_stored_any_more(broker):
    broker.stop(5)

    with pytest.raises(ShuttingDownError):
        import_definitions(broker, {"queues": [queue()]})


def test_thousands_of_queues_are_imported_and_exported(broker):
    names = [f"q{number:04}" for number in range(1200)]
    import_definitions(
        broker,
        {
            "queues": [queue(name) for name in names],
            "exchanges": [exchange()],
            "bindings": [binding(destination=name, routing_key=name) for name in names],
        },
    )
    exported = export_definitions(broker)

    assert [entry["name"] for entry in exported["queues"]] == names
    assert [entry["routing_key"] for entry in exported["bindings"]] == names
