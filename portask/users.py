"""Users: who may log in, and what RabbitMQ's definitions say about each of them.

    table "users"              name              -> CBOR [hash, algorithm, [tag, ...], {limit: number}]
    table "permissions"        CBOR [user, virtual host]            -> CBOR [configure, write, read]
    table "topic permissions"  CBOR [user, virtual host, exchange]  -> CBOR [write, read]
    table "identity"           "default user"    -> "made", once `guest` was there, so that it stays deleted

Passwords are checked; tags, permissions and limits are kept and handed out, and nothing is refused
because of them. A change is visible when it is durable.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, NamedTuple

from portask.catalog import IDENTITY, commit
from portask.errors import CorruptError, NotFoundError, PreconditionError, ProtocolError
from portask.message import decode_cbor, encode_cbor
from portask.password import SHA256, check_hash, hash_password, matches
from portask.storage.base import Round
from portask.stored_text import check_name, check_text

if TYPE_CHECKING:
    from portask.bus import Bus
    from portask.config import Settings
    from portask.storage.base import Storage

USERS = "users"
PERMISSIONS = "permissions"
TOPIC_PERMISSIONS = "topic permissions"
DEFAULT_USER = "guest"
DEFAULT_VIRTUAL_HOST = "/"
LIMITS = ("max-connections", "max-channels")
MAX_LIMIT = (1 << 31) - 1
_DEFAULT_USER_MADE = b"default user"


class User(NamedTuple):
    """One user as stored."""

    name: str
    password_hash: str
    """Base64; empty when no password opens it."""
    algorithm: str
    tags: tuple[str, ...]
    limits: dict[str, int]


class Permission(NamedTuple):
    """What a user may do in a virtual host: a regular expression of names for each."""

    user: str
    virtual_host: str
    configure: str
    write: str
    read: str


class TopicPermission(NamedTuple):
    """Which routing keys a user may use at a topic exchange: a regular expression for each."""

    user: str
    virtual_host: str
    exchange: str
    write: str
    read: str


class Users:
    """All users with their permissions."""

    def __init__(self, bus: Bus, storage: Storage, settings: Settings) -> None:
        self._bus = bus
        self._storage = storage
        self._settings = settings
        self._users: dict[str, User] = {}
        self._permissions: dict[tuple[str, str], Permission] = {}
        self._topic_permissions: dict[tuple[str, str, str], TopicPermission] = {}
        # What a login without a user is compared with, so that it takes as long as any other.
        self._nobody = User("", hash_password(b""), SHA256, (), {})

    def load(self) -> None:
        """Restore everything, and make the default user in new storage. Blocks, before anyone else writes.

        Raises CorruptError when a row is broken.
        """
        for key, row in self._storage.load(USERS).items():
            password_hash, algorithm, tags, limits = _decode(USERS, row, 4)
            name = key.decode()
            self._users[name] = User(name, password_hash, algorithm, tuple(tags), limits)
        for key, row in self._storage.load(PERMISSIONS).items():
            permission = Permission(*_decode(PERMISSIONS, key, 2), *_decode(PERMISSIONS, row, 3))
            self._permissions[permission[:2]] = permission
        for key, row in self._storage.load(TOPIC_PERMISSIONS).items():
            topic_permission = TopicPermission(*_decode(TOPIC_PERMISSIONS, key, 3), *_decode(TOPIC_PERMISSIONS, row, 2))
            self._topic_permissions[topic_permission[:3]] = topic_permission
        if _DEFAULT_USER_MADE not in self._storage.load(IDENTITY):
            self._make_default_user()

    # -- log in -----------------------------------------------------------------------------------

    def authenticate(self, name: str, password: str | bytes) -> bool:
        """Whether *password* is that user's. Takes the same time whether or not there is such a user."""
        user = self._users.get(name)
        known = user is not None and bool(user.password_hash) and bool(password)
        checked = user if known and user is not None else self._nobody
        return matches(password, checked.password_hash, checked.algorithm) and known

    def may_come_from(self, name: str, host: str) -> bool:
        """Whether that user may log in from the address *host*: those of `loopback_users` only from this machine."""
        return name not in self._settings.loopback_users.replace(",", " ").split() or _is_loopback(host)

    @property
    def anonymous(self) -> str | None:
        """The user that someone is who names none; None when nobody may log in that way."""
        name = self._settings.anonymous_login_user
        return name if name in self._users else None

    # -- users ------------------------------------------------------------------------------------

    def __contains__(self, name: object) -> bool:
        return name in self._users

    def users(self) -> list[User]:
        """All users by name."""
        return [self._users[name] for name in sorted(self._users)]

    def get(self, name: str) -> User:
        """The user of that name. Raises NotFoundError."""
        user = self._users.get(name)
        if user is None:
            raise NotFoundError(f"no user '{name}'")
        return user

    def put(
        self,
        name: str,
        *,
        password: str | bytes | None = None,
        password_hash: str = "",
        algorithm: str = SHA256,
        tags: Sequence[str] = (),
        limits: Mapping[str, int] | None = None,
    ) -> User:
        """Make a user or replace one; limits stay what they were when None. Blocks until durable.

        Takes a password, or a hash with its algorithm; with neither no password opens it. Raises PreconditionError.
        """
        check_name("a user's name", name)
        check_text("tag", *tags)
        if password is not None:
            check_text("password", password if isinstance(password, str) else "")
            password_hash, algorithm = hash_password(password), SHA256
        check_hash(password_hash, algorithm)
        if limits is None:
            limits = self._users[name].limits if name in self._users else {}
        check_limits(limits)
        user = User(name, password_hash, algorithm, tuple(tags), dict(limits))

        def collect(round_: Round) -> None:
            round_.puts[USERS, name.encode()] = _user_row(user)

        commit(self._bus, collect)
        self._users[name] = user
        return user

    def delete(self, name: str) -> None:
        """Delete a user with its permissions. Blocks until durable. Raises NotFoundError."""
        self.get(name)

        def collect(round_: Round) -> None:
            round_.puts[USERS, name.encode()] = None
            for key in self._permissions:
                if key[0] == name:
                    round_.puts[PERMISSIONS, encode_cbor(key)] = None
            for topic_key in self._topic_permissions:
                if topic_key[0] == name:
                    round_.puts[TOPIC_PERMISSIONS, encode_cbor(topic_key)] = None

        commit(self._bus, collect)
        self._users.pop(name, None)
        self._permissions = {key: value for key, value in self._permissions.items() if key[0] != name}
        self._topic_permissions = {key: value for key, value in self._topic_permissions.items() if key[0] != name}

    # -- permissions ------------------------------------------------------------------------------

    def permissions(self) -> list[Permission]:
        """All permissions, by user and virtual host."""
        return sorted(self._permissions.values())

    def topic_permissions(self) -> list[TopicPermission]:
        """All topic permissions, by user, virtual host and exchange."""
        return sorted(self._topic_permissions.values())

    def permit(self, permission: Permission) -> None:
        """Set a user's permissions in a virtual host. Blocks until durable. Raises NotFoundError, PreconditionError."""
        self.get(permission.user)
        check_name("a virtual host's name", permission.virtual_host)
        _check_patterns(permission.configure, permission.write, permission.read)

        def collect(round_: Round) -> None:
            round_.puts[PERMISSIONS, encode_cbor(permission[:2])] = encode_cbor(permission[2:])

        commit(self._bus, collect)
        self._permissions[permission[:2]] = permission

    def permit_topic(self, permission: TopicPermission) -> None:
        """Set a user's permissions at an exchange. Blocks until durable. Raises NotFoundError, PreconditionError."""
        self.get(permission.user)
        check_name("a virtual host's name", permission.virtual_host)
        check_text("exchange", permission.exchange)
        _check_patterns(permission.write, permission.read)

        def collect(round_: Round) -> None:
            round_.puts[TOPIC_PERMISSIONS, encode_cbor(permission[:3])] = encode_cbor(permission[3:])

        commit(self._bus, collect)
        self._topic_permissions[permission[:3]] = permission

    def collect_virtual_host_deletion(self, virtual_host: str, round_: Round) -> None:
        """Have the permissions in a virtual host go with it in *round_*. Does not block."""
        for key in self._permissions:
            if key[1] == virtual_host:
                round_.puts[PERMISSIONS, encode_cbor(key)] = None
        for topic_key in self._topic_permissions:
            if topic_key[1] == virtual_host:
                round_.puts[TOPIC_PERMISSIONS, encode_cbor(topic_key)] = None

    def forget_virtual_host(self, virtual_host: str) -> None:
        """That round is durable."""
        self._permissions = {key: value for key, value in self._permissions.items() if key[1] != virtual_host}
        self._topic_permissions = {
            key: value for key, value in self._topic_permissions.items() if key[1] != virtual_host
        }

    # -- inside -----------------------------------------------------------------------------------

    def _make_default_user(self) -> None:
        user = User(DEFAULT_USER, hash_password(DEFAULT_USER), SHA256, ("administrator",), {})
        permission = Permission(DEFAULT_USER, DEFAULT_VIRTUAL_HOST, ".*", ".*", ".*")
        round_ = Round()
        round_.puts[IDENTITY, _DEFAULT_USER_MADE] = b"made"
        round_.puts[USERS, user.name.encode()] = _user_row(user)
        round_.puts[PERMISSIONS, encode_cbor(permission[:2])] = encode_cbor(permission[2:])
        self._storage.write(round_)
        self._storage.sync()
        self._users[user.name] = user
        self._permissions[permission[:2]] = permission


def check_limits(limits: Mapping[str, Any]) -> None:
    """Raise PreconditionError unless *limits* are a user's: numbers of connections and channels, -1 for any."""
    for name, value in limits.items():
        if name not in LIMITS:
            raise PreconditionError(f"a user has the limits {' and '.join(LIMITS)}, not {name!r}")
        if type(value) is not int or not -1 <= value <= MAX_LIMIT:
            raise PreconditionError(f"limit {name} must be a whole number from -1 to {MAX_LIMIT}, not {value!r}")


def _check_patterns(*patterns: str) -> None:
    check_text("pattern", *patterns)
    for pattern in patterns:
        try:
            re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            raise PreconditionError(f"{pattern!r} is no regular expression: {error}") from None


def _user_row(user: User) -> bytes:
    return encode_cbor([user.password_hash, user.algorithm, list(user.tags), user.limits])


def _decode(table: str, data: bytes, count: int) -> list[Any]:
    try:
        values = decode_cbor(data)
    except ProtocolError as error:
        raise CorruptError(f"a row of table {table} is broken: {error}") from error
    if not isinstance(values, list) or len(values) != count:
        raise CorruptError(f"a row of table {table} is broken: it has not {count} values")
    return values


def _is_loopback(host: str) -> bool:
    address = ip_address(host.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)
