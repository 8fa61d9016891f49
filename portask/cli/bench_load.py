"""The load that `portask bench` makes: one process per producer and consumer, on plain sockets.

They speak the CBOR mode themselves instead of using portask.client, because on a machine with two cores
every microsecond that the load takes is one that the broker doesn't get: frames are encoded before the
clock starts, answers come in order and are matched by place, and settlements are sent a receive at a time.
"""

from __future__ import annotations

import random
import select
import socket
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from struct import Struct
from typing import Any, NamedTuple

from portask.cli.outcome import CommandError
from portask.message import decode_cbor, encode_cbor

RECEIVE_BYTES = 256 * 1024
PATIENCE_S = 30.0
"""Time without any progress after which a worker gives up."""
_LOOK_S = 0.05
"""How often a consumer that gets nothing looks whether the others have got everything."""
GROUP = "bench"
_LENGTH = Struct(">I")
_FRAMES = 32
"""Different frames that a producer sends in turn: enough that zstd has something to do, few enough to stay in cache."""


class Plan(NamedTuple):
    """What one worker has to do."""

    address: tuple[str, int]
    topic: str
    messages: int
    """A producer's own share; for consumers that of all of them together."""
    size: int
    """Bytes of a payload."""
    batch: int
    """Messages in one frame."""
    window: int
    """Messages unconfirmed (producer) or unsettled (consumer) at a time."""
    rate: float
    """Messages a second, 0 for as many as possible."""
    stamped: bool
    """Whether payloads carry the time at which they were sent."""
    seed: int


class Tally(NamedTuple):
    """What one worker has seen."""

    messages: int
    started: float
    ended: float
    latencies: array[float]
    """Seconds: to the confirm for each frame (producer), to the delivery for each stamped message (consumer)."""


class Peer:
    """One connection in CBOR mode."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.sock = socket.create_connection(address, timeout=PATIENCE_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray()
        try:
            self.sock.sendall(b"HELLO cbor name=bench\n")
            while b"\n" not in self._buffer:
                self._fill()
        except BaseException:
            self.close()
            raise
        line, _, rest = bytes(self._buffer).partition(b"\n")
        if not line.startswith(b"OK"):
            raise CommandError(f"the broker refused the benchmark: {line.decode(errors='replace')}")
        self._buffer = bytearray(rest)

    def close(self) -> None:
        """Close the connection."""
        self.sock.close()

    def receive(self) -> Iterator[list[Any]]:
        """The whole frames that have come since. Blocks until there is something."""
        self._fill()
        view = bytes(self._buffer)
        position, end = 0, len(view)
        while end - position >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(view, position)
            stop = position + _LENGTH.size + length
            if stop > end:
                break
            yield decode_cbor(view[position + _LENGTH.size : stop])
            position = stop
        del self._buffer[:position]

    def _fill(self) -> None:
        try:
            data = self.sock.recv(RECEIVE_BYTES)
        except TimeoutError:
            raise CommandError(f"the broker said nothing for {PATIENCE_S:g} s") from None
        if not data:
            raise CommandError("the broker closed the connection; see its log")
        self._buffer += data


def to_frame(request: Any) -> bytes:
    """One request as it is sent."""
    body = encode_cbor(request)
    return _LENGTH.pack(len(body)) + body


def checked(answer: list[Any]) -> list[Any]:
    """*answer*, if it is one that says OK. Raises CommandError with the broker's words."""
    if answer[0] != "OK":
        raise CommandError(f"the broker answered {answer[0]} {': '.join(map(str, answer[-2:]))}")
    return answer


def payload(source: random.Random, number: int, size: int, stamp: int = 0) -> bytes:
    """A JSON object of *size* bytes, or of as many as it takes; its fields vary as real ones do."""
    head = f'{{"t":{stamp},"id":{number},"user":{source.randrange(100_000)},"sum":{source.random():.4f},"note":"'
    fill = max(0, size - len(head) - 2)
    return f'{head}{"".join(source.choices("etaoinshrdlu ", k=fill))}"}}'.encode()


def produce(plan: Plan, begin: Callable[[], None]) -> Tally:
    """Publish what *plan* says and wait for every confirm. Blocks."""
    with closing(Peer(plan.address)) as peer:
        return _produce(plan, begin, peer)


def _produce(plan: Plan, begin: Callable[[], None], peer: Peer) -> Tally:
    source = random.Random(plan.seed)  # noqa: S311 - test data
    full, rest = divmod(plan.messages, plan.batch)

    def make(count: int) -> bytes:
        stamp = time.monotonic_ns() if plan.stamped else 0
        records = [payload(source, number, plan.size, stamp) for number in range(count)]
        return to_frame(["PUBLISH", 0, plan.topic, records, None])

    frames = [make(plan.batch) for _ in range(min(_FRAMES, full))]
    last = make(rest) if rest else b""
    most = max(1, plan.window // plan.batch)
    total = full + bool(rest)
    latencies: array[float] = array("d")
    under_way: deque[float] = deque()
    sent = 0
    begin()
    started = time.monotonic()
    while len(latencies) < total:
        now = time.monotonic()
        count = min(most - len(under_way), total - sent)
        if plan.rate:
            count = min(count, int((now - started) * plan.rate / plan.batch) + 1 - sent)
        if count > 0:
            pieces = []
            for number in range(sent, sent + count):
                frame = last if number >= full else make(plan.batch) if plan.stamped else frames[number % len(frames)]
                pieces.append(frame)
                under_way.append(now)
            peer.sock.sendall(b"".join(pieces))
            sent += count
        if plan.rate and sent < total and len(under_way) < most:
            pause = max(0.0, started + sent * plan.batch / plan.rate - time.monotonic())
            if not select.select([peer.sock], [], [], pause)[0]:
                continue
        for answer in peer.receive():
            checked(answer)
            latencies.append(time.monotonic() - under_way.popleft())
    return Tally(plan.messages, started, time.monotonic(), latencies)


def consume(plan: Plan, begin: Callable[[], None], settled: Callable[[int], int]) -> Tally:
    """Receive and settle until *settled*, told how many more it is each time, says that nothing is left. Blocks."""
    with closing(Peer(plan.address)) as peer:
        return _consume(plan, begin, settled, peer)


def _consume(plan: Plan, begin: Callable[[], None], settled: Callable[[int], int], peer: Peer) -> Tally:
    begin()
    peer.sock.sendall(to_frame(["SUBSCRIBE", 0, plan.topic, GROUP, plan.window, "first"]))
    started = ended = time.monotonic()
    latencies: array[float] = array("d")
    messages, unanswered = 0, 1
    while settled(0) > 0 or unanswered:
        if not select.select([peer.sock], [], [], _LOOK_S)[0]:
            if time.monotonic() - ended > PATIENCE_S:
                raise CommandError(f"nothing was delivered for {PATIENCE_S:g} s")
            continue
        ranges: dict[int, list[list[int]]] = {}
        count = 0
        for frame in peer.receive():
            if frame[0] != "MSG":
                checked(frame)
                unanswered -= 1
                continue
            _, _, _, partition, entries = frame
            count += len(entries)
            if plan.stamped:
                now = time.monotonic_ns()
                latencies.extend((now - _stamp(entry[3])) / 1e9 for entry in entries)
            _add(ranges.setdefault(partition, []), entries[0][0], entries[-1][0])
        if ranges:
            requests = [to_frame(["ACK", 0, plan.topic, GROUP, number, many]) for number, many in ranges.items()]
            peer.sock.sendall(b"".join(requests))
            unanswered += len(requests)
            messages += count
            settled(count)
        ended = time.monotonic()
    return Tally(messages, started, ended, latencies)


def _add(ranges: list[list[int]], first: int, last: int) -> None:
    if ranges and ranges[-1][1] + 1 == first:
        ranges[-1][1] = last
    else:
        ranges.append([first, last])


def _stamp(data: bytes) -> int:
    return int(data[5 : data.index(b",")])
