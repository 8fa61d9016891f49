"""The server: one broker with its listeners, from start to stop.

Order of life: storage, broker, listeners, `portask ready`; on SIGTERM the reverse: nothing new is
accepted, what is on the bus is written, synced and answered, in-flight state is saved, connections are
closed, storage last. A second signal ends the process at once, which is safe and only rude.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import gevent
from gevent.event import Event

from portask.broker import Broker
from portask.clock import Clock
from portask.errors import ConfigError, PortaskError
from portask.notify import Notifier
from portask.storage.base import Storage
from portask.telemetry.log import configure
from portask.telemetry.loop import INTERVAL_S, LoopMonitor

if TYPE_CHECKING:
    from portask.config import Settings
    from portask.options import Option

log = logging.getLogger(__name__)

HANDLERS = "portask.handlers"
"""Entry point group in which a package names its Handler classes."""
GC_THRESHOLDS = (50_000, 20, 50)
GRACE_S = 5.0
"""Beyond `shutdown_timeout_ms`, for closing storage."""
SWITCH_INTERVAL_S = 0.0005
"""A sync's thread needs the interpreter for microseconds to report back; with Python's default of 5 ms it
would wait that long behind a busy loop, and every confirm with it."""


class Handler(Protocol):
    """What the server asks of a protocol's listener; `handlers.base.Handler` is the one to derive from."""

    name: ClassVar[str]
    options: ClassVar[tuple[Option, ...]]
    address: tuple[str, int] | None

    def __init__(self, broker: Broker) -> None: ...

    def start(self) -> None:
        """Bind and accept."""

    def stop_accepting(self) -> None:
        """Take no new connection."""

    def close(self, timeout_s: float) -> None:
        """End all connections."""


def _local(settings: Settings) -> Storage:
    from portask.storage.local import LocalOptions, LocalStorage

    return LocalStorage(
        LocalOptions(
            directory=settings.data_dir,
            sync=settings.sync,
            sync_interval_ms=settings.sync_interval_ms,
            journal_bytes=settings.journal_bytes,
            segment_bytes=settings.segment_bytes,
        )
    )


def _memory(_: Settings) -> Storage:
    from portask.storage.memory import MemoryStorage

    return MemoryStorage()


STORAGES: dict[str, Callable[[Settings], Storage]] = {"local": _local, "memory": _memory}


def make_storage(settings: Settings) -> Storage:
    """The storage that the configuration names, not yet opened. Raises ConfigError."""
    scheme = str(settings.storage).partition("://")[0]
    make = STORAGES.get(scheme)
    if make is None:
        raise ConfigError(f"storage {scheme!r} is not part of this version; use {' or '.join(STORAGES)}")
    return make(settings)


def find_handlers() -> list[type[Handler]]:
    """The Handler classes that installed packages name, by name."""
    return [point.load() for point in sorted(entry_points(group=HANDLERS), key=lambda point: point.name)]


class Server:
    """A broker and its listeners in one process."""

    def __init__(self, settings: Settings, handlers: list[type[Handler]], clock: Clock | None = None) -> None:
        self.settings = settings
        self.broker = Broker(settings, make_storage(settings), clock or Clock())
        self.handlers = [handler(self.broker) for handler in handlers]
        self.notifier = Notifier(os.environ)
        self.signals: list[Any] = []
        interval_s = min(self.notifier.watchdog_interval_s or INTERVAL_S, INTERVAL_S)
        self.broker.loop = LoopMonitor(self.broker.clock, self.notifier.watchdog, interval_s)

    def start(self) -> None:
        """Open everything. Blocks until all listeners accept. Raises PortaskError or OSError, with all closed again."""
        self.broker.start()
        try:
            for handler in self.handlers:
                handler.start()
        except BaseException:
            self.stop()
            raise
        self.broker.loop.start()

    def stop(self) -> bool:
        """Close everything within `shutdown_timeout_ms`; False when that was too short. Blocks."""
        timeout_s = self.settings.shutdown_timeout_ms / 1000
        for handler in self.handlers:
            handler.stop_accepting()
        finished = self.broker.stop(timeout_s)
        for handler in self.handlers:
            handler.close(timeout_s)
        self.broker.loop.stop()
        return finished


def run(settings: Settings, handlers: list[type[Handler]]) -> int:
    """Serve until SIGTERM or SIGINT; the exit code. Blocks."""
    configure(settings.log_level, settings.log_format)
    for name in ("log_level", "log_format"):
        settings.on_change(name, lambda _: configure(settings.log_level, settings.log_format))
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        server = Server(settings, handlers)
        server.start()
    except (PortaskError, OSError) as error:
        log.critical("start failed", extra={"error": str(error)})
        return 2 if isinstance(error, ConfigError) else 1
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    stop = Event()
    # Kept with the server: a watcher that nobody holds is collected and hears nothing.
    server.signals = [
        gevent.signal_handler(signal.SIGTERM, _stop, stop, "SIGTERM"),
        gevent.signal_handler(signal.SIGINT, _stop, stop, "SIGINT"),
        gevent.signal_handler(signal.SIGHUP, _reload, server.broker),
    ]
    addresses = {handler.name: "{}:{}".format(*handler.address) for handler in server.handlers if handler.address}
    storage = settings.effective()["storage"]  # without the password that its URL may have
    log.info("portask ready", extra={"pid": os.getpid(), "storage": storage, **addresses})
    server.notifier.ready(" ".join(f"{name}={address}" for name, address in addresses.items()))
    stop.wait()
    server.notifier.stopping("finishing what was accepted")
    gevent.spawn_later(settings.shutdown_timeout_ms / 1000 + GRACE_S, _give_up)
    finished = server.stop()
    log.info("portask stopped", extra={"finished": finished})
    return 0 if finished and server.broker.failure is None else 1


def _give_up() -> None:
    # A disk that hangs would keep the process for ever; what is not acknowledged by now never was.
    log.critical("stopping takes too long, exiting; raise shutdown_timeout_ms if the disk is only slow")
    os._exit(1)


def _stop(stop: Event, name: str) -> None:
    if stop.is_set():
        log.warning("second signal, exiting at once", extra={"signal": name})
        os._exit(130)
    log.info("stopping", extra={"signal": name})
    stop.set()


def _reload(broker: Broker) -> None:
    try:
        broker.reload()
    except PortaskError as error:
        log.warning("reload failed, nothing was changed", extra={"error": str(error)})
