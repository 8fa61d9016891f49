"""ApiVersions: what is served, told to everyone who asks, in any version."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from handlers.kafka.error_codes import ErrorCode
from handlers.kafka.software import UNKNOWN
from handlers.kafka.tables import API_VERSIONS

if TYPE_CHECKING:
    from handlers.kafka.session import Session

KEY = 18
_NAMED = 3
"""From this version on the client says what it is."""
_CHECKED = 5
"""From this version on it may say which broker it means (KIP-1242)."""
_SOFTWARE = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?")
MAX_SOFTWARE = 200

_ApiVersion = API_VERSIONS.Response.ApiVersion
Range = tuple[int, int, int]
"""Key, lowest and highest version."""


def api_versions(session: Session, request: Any, version: int, ranges: Iterable[Range]) -> Any:
    """Answer an ApiVersions of a version that is served."""
    if version >= _NAMED:
        name, number = request.client_software_name, request.client_software_version
        if not (_is_software(name) and _is_software(number)):
            return API_VERSIONS.Response(error_code=ErrorCode.INVALID_REQUEST, api_keys=[])
        session.announce(name, number)
    else:
        session.announce(UNKNOWN, "")
    if version >= _CHECKED and _means_another(session, request):
        return API_VERSIONS.Response(error_code=ErrorCode.REBOOTSTRAP_REQUIRED, api_keys=[])
    return API_VERSIONS.Response(
        error_code=ErrorCode.NONE,
        api_keys=[_ApiVersion(api_key=key, min_version=low, max_version=high) for key, low, high in ranges],
        supported_features=[],
        finalized_features_epoch=0,
        finalized_features=[],
    )


def unsupported_version(low: int, high: int) -> Any:
    """The answer, to be encoded in version 0, to an ApiVersions of a version that is not served (KIP-511)."""
    return API_VERSIONS.Response(
        error_code=ErrorCode.UNSUPPORTED_VERSION,
        api_keys=[_ApiVersion(api_key=KEY, min_version=low, max_version=high)],
    )


def _is_software(text: str) -> bool:
    return len(text) <= MAX_SOFTWARE and _SOFTWARE.fullmatch(text) is not None


def _means_another(session: Session, request: Any) -> bool:
    is_other_cluster = request.cluster_id is not None and request.cluster_id != session.cluster_id
    return is_other_cluster or request.node_id not in {-1, session.node.node_id}
