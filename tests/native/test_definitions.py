"""The verbs for definitions and policies."""

import json

import pytest

from portask.client import ClientError

QUEUE = {"name": "q", "vhost": "/", "durable": True}


def test_definitions_go_in_and_come_out(client):
    outcome = client.define({"queues": [QUEUE]})

    assert outcome == {"imported": {"queues": 1}, "failed": [], "ignored": []}
    assert client.definitions()["queues"][0].items() >= QUEUE.items()


def test_definitions_of_one_virtual_host_go_in_and_come_out(client):
    client.define({"vhosts": [{"name": "other"}]})
    client.define({"queues": [{"name": "q", "durable": True}]}, "other")

    assert [entry["name"] for entry in client.definitions("other")["queues"]] == ["q"]
    assert client.definitions("/")["queues"] == []


def test_a_name_that_is_not_utf8_goes_in_and_comes_out(client):
    client.define({"queues": [{**QUEUE, "name": "\udcff"}]})

    assert client.definitions()["queues"][0]["name"] == "\udcff"
    assert client.define({"queues": [{**QUEUE, "name": "\udcff", "durable": 7}]})["failed"][0]["name"] == (
        "'\\udcff' in vhost '/'"
    )


def test_definitions_are_a_word_in_text_mode(text):
    text.send(b'DEFINE {"global_parameters":[{"name":"a","value":"b%20c"}]}\n')
    assert json.loads(text.file.readline().removeprefix(b"OK ")) == {
        "imported": {"global_parameters": 1},
        "failed": [],
        "ignored": [],
    }
    text.send(b"DEFINITIONS\n")
    definitions = json.loads(text.file.readline().removeprefix(b"OK "))
    assert definitions["global_parameters"] == [{"name": "a", "value": "b c"}]


@pytest.mark.parametrize("definitions", [b"{", b"[]", b"[" * 5000, b"7"])
def test_what_is_no_definitions_is_refused(text, definitions):
    text.send(b"DEFINE " + definitions + b"\n")

    assert text.file.readline().startswith(b"ERR INVALID ")


def test_policies_are_listed_and_dropped(client):
    says = {"pattern": "", "definition": {"expires": 5}, "priority": 1, "apply-to": "queues"}
    client.define(
        {
            "policies": [{"vhost": "/", "name": "p", **says}],
            "parameters": [{"vhost": "/", "component": "operator_policy", "name": "o", "value": says}],
        }
    )

    assert client.policies() == [
        {"vhost": "/", "name": "p", "kind": "policy", **says},
        {"vhost": "/", "name": "o", "kind": "operator", **says},
    ]
    client.drop_policy("p")
    client.drop_policy("o", kind="operator")
    assert client.policies() == []


def test_dropping_an_unknown_policy_is_refused(client):
    with pytest.raises(ClientError, match="no policy 'p' in vhost '/'") as refusal:
        client.drop_policy("p")
    assert refusal.value.code == "NOT_FOUND"
    with pytest.raises(ClientError, match="kind must be policy or operator"):
        client.drop_policy("p", kind="other")
