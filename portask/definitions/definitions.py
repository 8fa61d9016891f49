"""Definitions: what RabbitMQ's tools call everything that is declared, as one JSON object.

It has a list for each kind of thing, `users`, `vhosts`, `queues` and so on, and some words about where it is
from. The definitions of one virtual host have the lists of what belongs to it, without its name in each
entry. Exclusive queues, predeclared exchanges and what is bound by default are left out: they are made by
whoever needs them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import gevent

from portask import __version__
from portask.definitions.lists import VIRTUAL_HOST_SECTIONS
from portask.definitions.parameters import Parameter
from portask.resource_name import RESERVED_PREFIX

if TYPE_CHECKING:
    from portask.broker import Broker
    from portask.definitions.policy import Policy
    from portask.virtual_host import VirtualHost

RABBITMQ_VERSION = "4.1.0"
"""The version whose definitions these are like."""
OPERATOR_POLICY = "operator_policy"
"""Component of the parameters that operator policies are among."""
LIMITS = "vhost-limits"
"""Component of the parameter that has the limits of a virtual host."""
_PAUSE = 500
"""Entries between two turns of the other greenlets: about a millisecond."""

Entry = dict[str, Any]


def export_definitions(broker: Broker, virtual_host: str | None = None) -> dict[str, Any]:
    """All definitions, or those of one virtual host. Blocks. Raises NotAllowedError when there is no such one."""
    hosts = [broker.virtual_hosts.get(name) for name in broker.virtual_hosts.names()]
    if virtual_host is not None:
        hosts = [broker.virtual_hosts.get(virtual_host)]
    lists = {
        "users": _users(broker),
        "vhosts": (_virtual_host(broker, host) for host in hosts),
        "permissions": _permissions(broker),
        "topic_permissions": _topic_permissions(broker),
        "global_parameters": _global_parameters(broker),
        "parameters": _parameters(broker),
        "policies": (describe_policy(policy) for policy in broker.policies.policies()),
        "queues": (entry for host in hosts for entry in _queues(host)),
        "exchanges": (entry for host in hosts for entry in _exchanges(host)),
        "bindings": (entry for host in hosts for entry in _bindings(host)),
    }
    remarks = {
        "rabbit_version": RABBITMQ_VERSION,
        "rabbitmq_version": RABBITMQ_VERSION,
        "product_name": "Portask",
        "product_version": __version__,
        "rabbitmq_definition_format": "cluster" if virtual_host is None else "single_virtual_host",
        "original_cluster_name": broker.cluster_id,
    }
    if virtual_host is None:
        return remarks | {section: list(_gently(entries)) for section, entries in lists.items()}
    remarks["original_vhost_name"] = virtual_host
    return remarks | {
        section: [
            {name: value for name, value in entry.items() if name != "vhost"}
            for entry in _gently(entries)
            if entry["vhost"] == virtual_host
        ]
        for section, entries in lists.items()
        if section in VIRTUAL_HOST_SECTIONS
    }


def _gently(entries: Iterable[Entry]) -> Iterator[Entry]:
    for number, entry in enumerate(entries, 1):
        yield entry
        if number % _PAUSE == 0:
            gevent.sleep(0)


def _users(broker: Broker) -> Iterator[Entry]:
    for user in broker.users.users():
        yield {
            "name": user.name,
            "password_hash": user.password_hash,
            "hashing_algorithm": user.algorithm,
            "tags": list(user.tags),
            "limits": user.limits,
        }


def _virtual_host(broker: Broker, host: VirtualHost) -> Entry:
    metadata = {"description": "", "tags": [], **host.metadata}
    limits = broker.parameters.find(Parameter(host.name, LIMITS, "limits")) or []
    return {"name": host.name, **metadata, "metadata": metadata, "limits": limits}


def _permissions(broker: Broker) -> Iterator[Entry]:
    for user, virtual_host, configure, write, read in broker.users.permissions():
        yield {"user": user, "vhost": virtual_host, "configure": configure, "write": write, "read": read}


def _topic_permissions(broker: Broker) -> Iterator[Entry]:
    for user, virtual_host, exchange, write, read in broker.users.topic_permissions():
        yield {"user": user, "vhost": virtual_host, "exchange": exchange, "write": write, "read": read}


def _global_parameters(broker: Broker) -> Iterator[Entry]:
    for (virtual_host, _, name), value in broker.parameters.items():
        if virtual_host is None:
            yield {"name": name, "value": value}


def _parameters(broker: Broker) -> Iterator[Entry]:
    for (virtual_host, component, name), value in broker.parameters.items():
        if virtual_host is not None:
            yield {"vhost": virtual_host, "component": component, "name": name, "value": value}
    for policy in broker.policies.policies(operator=True):
        entry = describe_policy(policy)
        virtual_host, name = entry.pop("vhost"), entry.pop("name")
        yield {"vhost": virtual_host, "component": OPERATOR_POLICY, "name": name, "value": entry}


def describe_policy(policy: Policy) -> Entry:
    """A policy as definitions have it."""
    return {
        "vhost": policy.virtual_host,
        "name": policy.name,
        "pattern": policy.pattern,
        "apply-to": policy.apply_to,
        "definition": policy.definition,
        "priority": policy.priority,
    }


def _queues(host: VirtualHost) -> Iterator[Entry]:
    for queue in sorted(host.queues, key=lambda queue: queue.name):
        if queue.exclusive is None:
            yield {
                "name": queue.name,
                "vhost": host.name,
                "type": queue.type,
                "durable": queue.durable,
                "auto_delete": queue.auto_delete,
                "arguments": in_json(queue.arguments),
            }


def _exchanges(host: VirtualHost) -> Iterator[Entry]:
    for name, exchange in sorted(host.exchanges.items()):
        if name and not name.startswith(RESERVED_PREFIX):
            yield {
                "name": name,
                "vhost": host.name,
                "type": exchange.type,
                "durable": exchange.durable,
                "auto_delete": exchange.auto_delete,
                "internal": exchange.internal,
                "arguments": in_json(exchange.arguments),
            }


def _bindings(host: VirtualHost) -> Iterator[Entry]:
    exclusive = {queue.name for queue in host.queues if queue.exclusive is not None}
    for binding in sorted(host.bindings(), key=lambda binding: binding.identity):
        source, kind, destination, routing_key, _ = binding.identity
        if kind == "queue" and destination in exclusive:
            continue
        yield {
            "source": source,
            "vhost": host.name,
            "destination": destination,
            "destination_type": kind,
            "routing_key": routing_key,
            "arguments": in_json(binding.arguments),
        }


def in_json(value: Any) -> Any:
    """A value of a field table as JSON has it: times are seconds, bytes are text."""
    match value:
        case Mapping():
            return {name: in_json(entry) for name, entry in value.items()}
        case list():
            return [in_json(entry) for entry in value]
        case bytes():
            return value.decode("utf-8", "surrogateescape")
        case datetime():
            return int(value.timestamp())
        case Decimal():
            return float(value)
    return value
