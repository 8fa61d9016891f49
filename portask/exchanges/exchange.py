"""Exchanges: what decides by routing key where a message goes.

An exchange knows its bindings and finds those that a message matches. It neither publishes nor stores: the
virtual host follows the bindings, and writes the rows. What a type does besides
finding bindings is an attribute that routing looks at (portask.exchanges.route): `is_delaying`, `deduplication`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from gevent.event import Event

from portask.errors import PortaskError, PreconditionError
from portask.exchanges.topic_index import TopicIndex, split
from portask.message import Record

if TYPE_CHECKING:
    from portask.bus import Item
    from portask.exchanges.binding import Binding, Identity
    from portask.exchanges.deduplication import Deduplication
    from portask.exchanges.published import Published

ALTERNATE = "alternate-exchange"
MAX_LOOPS = 2
"""As many `#` as a topic pattern may have; RabbitMQ refuses more, because matching them costs more with each."""

Done = Callable[[PortaskError | None], None]
"""Called once: with None when all is as safe as configured, else with what kept it from that. Must not block."""


class Destination(Protocol):
    """Where messages end up: a queue, or what keeps them until they are due."""

    @property
    def takes_many(self) -> bool:
        """Several messages may come in one call, to be answered as one."""

    def publish(
        self,
        records: list[Record],
        size_bytes: int,
        done: Done | None,
        *,
        expiring: bool = False,
        into: list[Item] | None = None,
    ) -> None:
        """Take *records*; *done* as `Done`. Blocks while the bus is full.

        *expiring*: some record has an expiration of its own. With *into*, what would be put on the bus is
        added there instead, for the caller to put. Raises instead of calling *done* when nothing was taken.
        """


class Route(NamedTuple):
    """Where a message goes."""

    destinations: tuple[Destination, ...]
    """Each once."""
    is_constant: bool
    """Every message with this exchange and these keys goes there, until the virtual host's generation changes."""
    is_routed: bool
    """Somebody gets it; else one that is mandatory goes back."""


class Exchange(ABC):
    """An exchange with its bindings. Made and changed by the virtual host only."""

    type: str
    is_constant: ClassVar[bool] = True
    """What it matches depends on the routing keys alone."""

    def __init__(
        self,
        type_name: str,
        name: str,
        *,
        durable: bool,
        auto_delete: bool,
        internal: bool,
        arguments: Mapping[str, Any],
    ) -> None:
        self.type = type_name
        self.name = name
        self.durable = durable
        self.auto_delete = auto_delete
        self.internal = internal
        self.arguments = arguments
        self.policy: Mapping[str, Any] = {}
        """What a policy says where the arguments say nothing; whoever sets it tells the virtual host."""
        self.bindings: dict[Identity, Binding] = {}
        """Those that lead away, also while they are not durable yet."""
        self.incoming: dict[Identity, Binding] = {}
        """Those that lead here from other exchanges."""
        self.removed: Event | None = None
        """Set when it is gone; there from the moment when it begins to go."""
        self.is_delaying = False
        self.deduplication: Deduplication | None = None

    @property
    def alternate(self) -> str | None:
        """The exchange that gets what matches no binding here."""
        name = self.arguments.get(ALTERNATE)
        return self.policy.get(ALTERNATE) if name is None else name

    @property
    def is_in_use(self) -> bool:
        """Some binding leads away and stays."""
        return any(not binding.is_leaving for binding in self.bindings.values())

    @property
    def is_filtering(self) -> bool:
        """Not every message goes along the bindings at once."""
        return self.is_delaying or self.deduplication is not None

    def check_binding(self, routing_key: str, arguments: Mapping[str, Any]) -> None:  # noqa: B027  # most take any
        """Raise PreconditionError when no binding of these can be."""

    @abstractmethod
    def add(self, binding: Binding) -> None:
        """Match *binding* from now on."""

    @abstractmethod
    def remove(self, binding: Binding) -> None:
        """Match *binding* no longer."""

    @abstractmethod
    def match(self, message: Published) -> Iterable[Binding]:
        """The bindings that *message* goes along; one may come more than once."""


class DirectExchange(Exchange):
    """Bindings whose key is the message's."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._by_key: dict[str, dict[Binding, None]] = {}

    def add(self, binding: Binding) -> None:
        self._by_key.setdefault(binding.routing_key, {})[binding] = None

    def remove(self, binding: Binding) -> None:
        same_key = self._by_key[binding.routing_key]
        del same_key[binding]
        if not same_key:
            del self._by_key[binding.routing_key]

    def match(self, message: Published) -> Iterable[Binding]:
        for key in message.keys:
            yield from self._by_key.get(key, ())


class FanoutExchange(Exchange):
    """All bindings."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._active: dict[Binding, None] = {}

    def add(self, binding: Binding) -> None:
        self._active[binding] = None

    def remove(self, binding: Binding) -> None:
        del self._active[binding]

    def match(self, message: Published) -> Iterable[Binding]:
        return self._active


class TopicExchange(Exchange):
    """Bindings whose pattern fits the message's key; `*` is one word, `#` any number."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._index: TopicIndex[Binding] = TopicIndex()

    def check_binding(self, routing_key: str, arguments: Mapping[str, Any]) -> None:
        if split(routing_key).count("#") > MAX_LOOPS:
            raise PreconditionError(f"topic binding key '{routing_key}' has more than {MAX_LOOPS} '#' wildcards")

    def add(self, binding: Binding) -> None:
        self._index.add(binding.routing_key, binding)

    def remove(self, binding: Binding) -> None:
        self._index.remove(binding.routing_key, binding)

    def match(self, message: Published) -> Iterable[Binding]:
        for key in message.keys:
            yield from self._index.match(key)
