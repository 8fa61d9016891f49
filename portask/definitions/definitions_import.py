"""Import of definitions: everything that a file declares is there afterwards, and nothing else has changed.

Entry by entry: one that cannot be is named with its reason, and the others are imported. What is there
already and the same is left alone; users, permissions, policies and parameters are replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from struct import error as StructError
from typing import TYPE_CHECKING, Any

from gevent.pool import Pool

from portask.definitions.definitions import LIMITS, OPERATOR_POLICY
from portask.definitions.entry import Entry
from portask.definitions.lists import REMARKS, SECTIONS, VIRTUAL_HOST_SECTIONS
from portask.definitions.parameters import Parameter
from portask.definitions.policy import Policy
from portask.errors import PortaskError, PreconditionError, UsageError
from portask.field_table import encode_table
from portask.password import MD5, SHA256
from portask.queues.arguments import CLASSIC
from portask.resource_name import RESERVED_PREFIX, encode_name
from portask.stored_text import MAX_NAME_BYTES, check_name, check_text, to_json
from portask.users import Permission, TopicPermission

if TYPE_CHECKING:
    from portask.broker import Broker
    from portask.virtual_host import VirtualHost

TOGETHER = 64
"""Entries that are imported at the same time, so that a sync is shared by as many."""
_IN_ORDER = ("global_parameters", "policies", "parameters")
"""Sections in which one entry may replace another."""
_MD5_VERSIONS = ("2.", "3.0.", "3.1.", "3.2.", "3.3.", "3.4.", "3.5.")
"""Of RabbitMQ, before it wrote the algorithm next to the hash."""


class _LeftOutError(Exception):
    """An entry that is left out on purpose; the text says why."""


@dataclass
class Outcome:
    """What an import did."""

    imported: dict[str, int] = field(default_factory=dict)
    """Section -> how many of its entries are there now."""
    failed: list[dict[str, Any]] = field(default_factory=list)
    """Entries that cannot be: section, number in it from 0 on, name, and error."""
    ignored: list[str] = field(default_factory=list)
    """Parts that have no meaning here, each with its place."""

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        return {"imported": self.imported, "failed": self.failed, "ignored": self.ignored}


def import_definitions(broker: Broker, definitions: Any, virtual_host: str | None = None) -> Outcome:
    """Import *definitions*, with *virtual_host* those parts that belong to it into that one. Blocks until durable.

    Raises PreconditionError when they are no definitions at all, NotAllowedError when there is no such virtual
    host, and what keeps anything from being stored; then what came before is imported.
    """
    if not isinstance(definitions, Mapping):
        raise PreconditionError("definitions are a JSON object")
    if virtual_host is not None:
        broker.virtual_hosts.get(virtual_host)
    sections = SECTIONS if virtual_host is None else VIRTUAL_HOST_SECTIONS
    lists = {section: definitions.get(section) for section in sections}
    for section, values in lists.items():
        if not isinstance(values, list | None):
            raise PreconditionError(f"{section} must be a list")
    version = definitions.get("rabbitmq_version") or definitions.get("rabbit_version")
    importer = _Importer(broker, virtual_host, str(version))
    outcome = Outcome()
    outcome.ignored += [_shown(name) for name in definitions if name not in sections and name not in REMARKS]
    for section, values in lists.items():
        importer.run(section, values or [], outcome)
    return outcome


class _Importer:
    """The functions of the sections: each takes an entry and returns when that is durable."""

    def __init__(self, broker: Broker, virtual_host: str | None, version: str) -> None:
        self._broker = broker
        self._virtual_host = virtual_host
        self._has_failed = False
        self._algorithm = MD5 if version.startswith(_MD5_VERSIONS) else SHA256
        self._sections: dict[str, Callable[[Entry], None]] = {
            "users": self._user,
            "vhosts": self._new_host,
            "permissions": self._permission,
            "exchanges": self._exchange,
            "topic_permissions": self._topic_permission,
            "global_parameters": self._global_parameter,
            "policies": self._policy,
            "parameters": self._parameter,
            "queues": self._queue,
            "bindings": self._binding,
        }

    def run(self, section: str, values: list[Any], outcome: Outcome) -> None:
        """Import one section. Blocks."""
        if not values:
            return
        make = self._sections[section]

        def one(value: Any) -> tuple[Entry | None, Exception | None]:
            if self._has_failed:
                return None, None
            if not isinstance(value, Mapping):
                return None, PreconditionError(f"an entry is a JSON object, not {value!r:.40}")
            entry = Entry(value)
            try:
                make(entry)
            except (PortaskError, _LeftOutError) as error:
                return entry, error
            return entry, None

        pool = Pool(TOGETHER)
        try:
            self._count(section, map(one, values) if section in _IN_ORDER else pool.imap(one, values), outcome)
        except BaseException:
            # Who is told that it failed must not find more of it later.
            self._has_failed = True
            pool.join()
            raise

    def _count(self, section: str, results: Iterable[tuple[Entry | None, Exception | None]], outcome: Outcome) -> None:
        """Put to *outcome* what became of the entries of a section. Raises what keeps anything from being stored."""
        imported = 0
        for number, (entry, error) in enumerate(results):
            if error is None and entry is not None:
                imported += 1
                outcome.ignored += [_shown(f"{section}[{number}].{name}") for name in entry.unread()]
            elif isinstance(error, _LeftOutError):
                outcome.ignored.append(_shown(f"{section}[{number}]: {error}"))
            elif isinstance(error, UsageError):
                name = entry.label if entry is not None else ""
                outcome.failed.append(
                    {"section": section, "number": number, "name": _shown(name), "error": _shown(str(error))}
                )
            elif error is not None:
                raise error
        outcome.imported[section] = imported

    # -- sections ---------------------------------------------------------------------------------

    def _user(self, entry: Entry) -> None:
        name = entry.text("name")
        password = entry.text("password", "") or None
        password_hash = entry.text("password_hash", "" if password else None)
        self._broker.users.put(
            name,
            password=password,
            password_hash=password_hash,
            algorithm=entry.text("hashing_algorithm", self._algorithm),
            tags=entry.words("tags"),
            limits=entry.limits("limits"),
        )

    def _new_host(self, entry: Entry) -> None:
        name = entry.text("name")
        check_name("name", name)
        metadata = Entry(entry.table("metadata"))
        known: dict[str, Any] = {
            "description": entry.text("description", "") or metadata.text("description", ""),
            "tags": entry.words("tags") or metadata.words("tags"),
            "default_queue_type": entry.text("default_queue_type", "") or metadata.text("default_queue_type", ""),
        }
        check_text("metadata", known["description"], known["default_queue_type"], *known["tags"])
        limits = entry.limits("limits")
        # Before anything is made: what cannot be stored must not leave half of the entry behind.
        to_json(limits)
        entry.truth("tracing", False)
        host = self._broker.virtual_hosts.find(name)
        said = {key: value for key, value in known.items() if value}
        self._broker.virtual_hosts.create(name, {**(host.metadata if host is not None else {}), **said})
        if limits:
            self._broker.parameters.put(Parameter(name, LIMITS, "limits"), limits)

    def _permission(self, entry: Entry) -> None:
        words = [entry.text(name) for name in ("user", "vhost", "configure", "write", "read")]
        self._host(words[1])
        self._broker.users.permit(Permission(*words))

    def _topic_permission(self, entry: Entry) -> None:
        words = [entry.text(name) for name in ("user", "vhost", "exchange", "write", "read")]
        self._host(words[1])
        self._broker.users.permit_topic(TopicPermission(*words))

    def _global_parameter(self, entry: Entry) -> None:
        self._broker.parameters.put(Parameter(None, None, entry.text("name")), entry.value("value"))

    def _parameter(self, entry: Entry) -> None:
        host, component, name = self._host_of(entry), entry.text("component"), entry.text("name")
        if component in {OPERATOR_POLICY, "policy"}:
            inner = Entry({**entry.table("value"), "name": name})
            self._broker.policies.put(_read_policy(inner, host.name), operator=component == OPERATOR_POLICY)
        else:
            self._broker.parameters.put(Parameter(host.name, component, name), entry.value("value"))

    def _policy(self, entry: Entry) -> None:
        host = self._host_of(entry)
        self._broker.policies.put(_read_policy(entry, host.name))

    def _exchange(self, entry: Entry) -> None:
        host, name = self._host_of(entry), _name(entry, "name")
        if not name or name.startswith(RESERVED_PREFIX):
            raise _LeftOutError(f"{entry.label} is predeclared")
        host.declare_exchange(
            name,
            entry.text("type"),
            durable=entry.truth("durable"),
            auto_delete=entry.truth("auto_delete", False),
            internal=entry.truth("internal", False),
            arguments=_arguments(entry),
        )

    def _queue(self, entry: Entry) -> None:
        host, name = self._host_of(entry), _name(entry, "name")
        if name.startswith(RESERVED_PREFIX):
            raise _LeftOutError(f"{entry.label} has a reserved name")
        if not name:
            raise PreconditionError("name is empty")
        arguments = _arguments(entry)
        queue_type = entry.text("type", CLASSIC).removeprefix("rabbit_").removesuffix("_queue")
        if queue_type != CLASSIC:
            arguments.setdefault("x-queue-type", queue_type)
        host.queues.declare(
            name, durable=entry.truth("durable"), auto_delete=entry.truth("auto_delete", False), arguments=arguments
        )

    def _binding(self, entry: Entry) -> None:
        host, source = self._host_of(entry), _name(entry, "source")
        kind = entry.text("destination_type")
        if kind not in {"queue", "exchange"}:
            raise PreconditionError(f"destination_type must be queue or exchange, not {kind!r}")
        if not source:
            raise _LeftOutError("the default exchange leads to every queue")
        host.bind(
            source,
            "queue" if kind == "queue" else "exchange",
            _name(entry, "destination"),
            _name(entry, "routing_key"),
            _arguments(entry),
        )

    # -- parts ------------------------------------------------------------------------------------

    def _host_of(self, entry: Entry) -> VirtualHost:
        if self._virtual_host is not None:
            entry.text("vhost", "")
            return self._host(self._virtual_host)
        return self._host(entry.text("vhost"))

    def _host(self, name: str) -> VirtualHost:
        host = self._broker.virtual_hosts.find(name)
        if host is None:
            raise PreconditionError(f"there is no virtual host {name!r}")
        return host


def _shown(text: str) -> str:
    """*text* as a terminal can show it."""
    return text.encode("utf-8", "backslashreplace").decode()


def _read_policy(entry: Entry, virtual_host: str) -> Policy:
    name, pattern = entry.text("name"), entry.text("pattern")
    priority = entry.value("priority", 0)
    return Policy(virtual_host, name, pattern, entry.table("definition"), entry.text("apply-to", "all"), priority)


def _name(entry: Entry, key: str) -> str:
    """A name or routing key, which need not be UTF-8."""
    name = entry.text(key)
    try:
        size = len(encode_name(name))
    except UnicodeEncodeError:
        raise PreconditionError(f"{key} {name!r} cannot be written as UTF-8") from None
    if size > MAX_NAME_BYTES:
        raise PreconditionError(f"{key} has {size} bytes, {MAX_NAME_BYTES} are the most")
    return name


def _arguments(entry: Entry) -> dict[str, Any]:
    arguments = entry.table("arguments")
    try:
        encode_table(arguments)
    except (PortaskError, ValueError, OverflowError, TypeError, StructError) as error:
        raise PreconditionError(f"arguments cannot be sent as a field table: {error}") from None
    return arguments
