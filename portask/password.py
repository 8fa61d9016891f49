"""Password hashes as RabbitMQ makes them.

    hash := base64(salt digest)        salt: 4 random bytes, digest: of salt and the password's UTF-8 bytes

The algorithm goes with the hash, by RabbitMQ's name for it. New hashes are SHA-256; the others are
accepted where they come from elsewhere.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import secrets
from base64 import b64decode, b64encode

from portask.errors import PreconditionError

SHA256 = "rabbit_password_hashing_sha256"
MD5 = "rabbit_password_hashing_md5"
DIGESTS = {SHA256: "sha256", "rabbit_password_hashing_sha512": "sha512", MD5: "md5"}
"""Algorithm -> the name that hashlib has for it."""
_SALT_BYTES = 4


def hash_password(password: str | bytes) -> str:
    """A new hash of *password*."""
    salt = secrets.token_bytes(_SALT_BYTES)
    return b64encode(salt + hashlib.sha256(salt + _bytes(password)).digest()).decode()


def matches(password: str | bytes, password_hash: str, algorithm: str) -> bool:
    """Whether *password* is the one that was hashed. How long it takes says nothing about the hash."""
    packed = b64decode(password_hash)
    salt, digest = packed[:_SALT_BYTES], packed[_SALT_BYTES:]
    return hmac.compare_digest(hashlib.new(DIGESTS[algorithm], salt + _bytes(password)).digest(), digest)


def check_hash(password_hash: str, algorithm: str) -> None:
    """Raise PreconditionError unless some password can have *password_hash*; "" is the hash of none."""
    if algorithm not in DIGESTS:
        raise PreconditionError(f"hashing_algorithm must be one of {', '.join(DIGESTS)}, not {algorithm!r}")
    try:
        packed = b64decode(password_hash, validate=True)
    except (binascii.Error, ValueError):
        raise PreconditionError("password_hash is not base64") from None
    size = _SALT_BYTES + hashlib.new(DIGESTS[algorithm]).digest_size
    if password_hash and len(packed) != size:
        raise PreconditionError(f"password_hash has {len(packed)} bytes, {algorithm} makes {size}")


def _bytes(password: str | bytes) -> bytes:
    return password.encode("utf-8", "surrogateescape") if isinstance(password, str) else password
