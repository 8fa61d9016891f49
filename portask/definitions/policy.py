"""Policies: arguments for queues and exchanges by pattern of their names.

    table "policies"   CBOR [virtual host, "policy" or "operator policy", name] -> row
    row := JSON [pattern, apply-to, priority, definition]

Of the policies whose pattern is found in a name, the one of the highest priority counts, and no other;
the same goes for operator policies, whose numbers limit what policies and arguments say. JSON, because a
definition comes as JSON and its numbers may have any size. A change is seen when it is durable.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from portask.catalog import commit
from portask.definitions.policy_keys import APPLY_TO, QUEUE_TYPES, check_definition, merge, merge_arguments, suits
from portask.errors import CorruptError, NotFoundError, PreconditionError, ProtocolError
from portask.message import decode_cbor, encode_cbor
from portask.stored_text import check_name, to_json

if TYPE_CHECKING:
    from portask.bus import Bus
    from portask.storage.base import Round, Storage

POLICIES = "policies"
_KINDS = ("policy", "operator policy")

Watcher = Callable[[str], None]


class Policy(NamedTuple):
    """One policy or operator policy."""

    virtual_host: str
    name: str
    pattern: str
    definition: dict[str, Any]
    apply_to: str = "all"
    priority: int | float = 0


class _Rule(NamedTuple):
    policy: Policy
    found_in: Callable[[str], object]

    def fits_queue(self, name: str, queue_type: str) -> bool:
        apply_to = self.policy.apply_to
        is_meant = apply_to in ("all", "queues") or QUEUE_TYPES.get(apply_to) == queue_type
        return is_meant and bool(self.found_in(name)) and suits(self.policy.definition, queue_type)

    def fits_exchange(self, name: str) -> bool:
        return self.policy.apply_to in ("all", "exchanges") and bool(self.found_in(name))


class Policies:
    """All policies. Watchers are called with the name of the virtual host where they changed, and may block."""

    def __init__(self, bus: Bus, storage: Storage) -> None:
        self._bus = bus
        self._storage = storage
        self._rules: dict[tuple[str, bool], dict[str, _Rule]] = {}
        """Virtual host and whether they are operator policies -> name -> rule, the one that counts first."""
        self._watchers: list[Watcher] = []

    def load(self) -> None:
        """Restore everything. Raises CorruptError when a row is broken."""
        for key, row in self._storage.load(POLICIES).items():
            try:
                virtual_host, kind, name = decode_cbor(key)
                pattern, apply_to, priority, definition = json.loads(row)
                policy = Policy(virtual_host, name, pattern, definition, apply_to, priority)
                self._keep(policy, _KINDS.index(kind) == 1)
            except (ProtocolError, ValueError, TypeError, re.error) as error:
                raise CorruptError(f"a row of table {POLICIES} is broken: {error}") from error

    def watch(self, call: Watcher) -> None:
        """Have *call* called after every change from now on."""
        self._watchers.append(call)

    # -- policies ---------------------------------------------------------------------------------

    def policies(self, *, operator: bool = False) -> list[Policy]:
        """All policies, or all operator policies, by virtual host and name."""
        rules = [rules for (_, kind), rules in self._rules.items() if kind is operator]
        return sorted((rule.policy for known in rules for rule in known.values()), key=lambda policy: policy[:2])

    def put(self, policy: Policy, *, operator: bool = False) -> None:
        """Make a policy or replace one. Blocks until it is durable and followed. Raises PreconditionError."""
        check_policy(policy, operator=operator)
        row = to_json([policy.pattern, policy.apply_to, policy.priority, policy.definition])

        def collect(round_: Round) -> None:
            round_.puts[POLICIES, _key(policy.virtual_host, policy.name, operator)] = row

        commit(self._bus, collect)
        self._keep(policy, operator)
        self._changed(policy.virtual_host)

    def delete(self, virtual_host: str, name: str, *, operator: bool = False) -> None:
        """Delete a policy. Blocks until durable. Raises NotFoundError."""
        place = virtual_host, operator
        if name not in self._rules.get(place, {}):
            raise NotFoundError(f"no {_KINDS[operator]} '{name}' in vhost '{virtual_host}'")

        def collect(round_: Round) -> None:
            round_.puts[POLICIES, _key(virtual_host, name, operator)] = None

        commit(self._bus, collect)
        # Not those of before: another policy may have been made meanwhile.
        self._rules.get(place, {}).pop(name, None)
        self._changed(virtual_host)

    def collect_virtual_host_deletion(self, virtual_host: str, round_: Round) -> None:
        """Have the policies of a virtual host go with it in *round_*. Does not block."""
        for operator in (False, True):
            for name in self._rules.get((virtual_host, operator), {}):
                round_.puts[POLICIES, _key(virtual_host, name, operator)] = None

    def forget_virtual_host(self, virtual_host: str) -> None:
        """That round is durable."""
        for operator in (False, True):
            self._rules.pop((virtual_host, operator), None)

    # -- what they say ----------------------------------------------------------------------------

    def for_queue(self, virtual_host: str, name: str, queue_type: str, *, operator: bool = False) -> Policy | None:
        """The policy that counts for a queue of *queue_type*, "classic", "quorum" or "stream"."""
        return _first(rule for rule in self._known(virtual_host, operator) if rule.fits_queue(name, queue_type))

    def for_exchange(self, virtual_host: str, name: str, *, operator: bool = False) -> Policy | None:
        """The policy that counts for an exchange."""
        return _first(rule for rule in self._known(virtual_host, operator) if rule.fits_exchange(name))

    def queue_arguments(
        self, virtual_host: str, name: str, queue_type: str, arguments: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """The arguments that a queue declared with *arguments* has; *arguments* itself when no policy counts."""
        definition = _effective(
            self.for_queue(virtual_host, name, queue_type),
            self.for_queue(virtual_host, name, queue_type, operator=True),
        )
        return merge_arguments(arguments, definition, queue_type) if definition else arguments

    def exchange_definition(self, virtual_host: str, name: str) -> Mapping[str, Any]:
        """What policies say about an exchange; its arguments go before."""
        return _effective(self.for_exchange(virtual_host, name), self.for_exchange(virtual_host, name, operator=True))

    # -- inside -----------------------------------------------------------------------------------

    def _known(self, virtual_host: str, operator: bool) -> Iterable[_Rule]:
        return self._rules.get((virtual_host, operator), {}).values()

    def _keep(self, policy: Policy, operator: bool) -> None:
        place = policy.virtual_host, operator
        rules = {**self._rules.get(place, {}), policy.name: _Rule(policy, re.compile(policy.pattern).search)}
        # Names decide between equal priorities, so that it does not depend on who came first.
        order = sorted(rules.values(), key=lambda rule: (-rule.policy.priority, rule.policy.name))
        self._rules[place] = {rule.policy.name: rule for rule in order}

    def _changed(self, virtual_host: str) -> None:
        for call in list(self._watchers):
            call(virtual_host)


def check_policy(policy: Policy, *, operator: bool) -> None:
    """Raise PreconditionError unless *policy* can be."""
    check_name("the name of a policy or its virtual host", policy.name, policy.virtual_host)
    if type(policy.priority) not in (int, float):
        raise PreconditionError(f"priority must be a number, not {policy.priority!r}")
    if policy.apply_to not in APPLY_TO:
        raise PreconditionError(f"apply-to must be one of {', '.join(APPLY_TO)}, not {policy.apply_to!r}")
    try:
        re.compile(policy.pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise PreconditionError(f"pattern {policy.pattern!r} is no regular expression: {error}") from None
    check_definition(policy.definition, operator=operator)


def _effective(policy: Policy | None, operator_policy: Policy | None) -> Mapping[str, Any]:
    definition = policy.definition if policy is not None else {}
    if operator_policy is None:
        return definition
    limits = operator_policy.definition
    return {
        **definition,
        **{
            name: merge(name, value, definition[name]) if name in definition else value
            for name, value in limits.items()
        },
    }


def _first(rules: Iterable[_Rule]) -> Policy | None:
    rule = next(iter(rules), None)
    return rule.policy if rule is not None else None


def _key(virtual_host: str, name: str, operator: bool) -> bytes:
    return encode_cbor([virtual_host, _KINDS[operator], name])
