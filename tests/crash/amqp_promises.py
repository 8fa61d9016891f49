"""What AMQP clients were promised over all lives of a server, and whether what is left keeps it.

A message is known by its body, `<publisher> <number> <noise>`. What a confirm, a commit or a declaration has answered
for is *sure*; what was asked for and not answered may have happened or not.
"""

from collections import Counter, defaultdict
from itertools import pairwise
from typing import NamedTuple


class Route(NamedTuple):
    """Where a publisher's messages go."""

    exchange: str
    key: str
    queues: tuple[tuple[str, ...], ...]
    """It is in one queue of each of these sets, or was settled there."""
    priorities: int = 1
    delays_ms: tuple[int, ...] = ()
    expirations_ms: tuple[int, ...] = ()


ROUTES = {
    "plain": Route("", "plain", (("plain",),)),
    "urgent": Route("", "urgent", (("urgent",),), priorities=6),
    "work": Route("", "work", (("work", "dead"),)),
    "limited": Route("", "limited", (("limited", "dead"),)),
    "news": Route("news", "", (("news-1",), ("news-2",), ("news-3",))),
    "brief": Route("", "brief", (("expired",),)),
    "fleeting": Route("", "fleeting", (("expired",),), expirations_ms=(1, 5, 50, 300)),
    "later": Route("later", "delayed", (("delayed",),), delays_ms=(1, 10, 100, 300, 600)),
    "input": Route("", "input", (("input",),)),
}
MAY_REPEAT = {"dead", "expired", "delayed"}
"""Queues that get a message a second time when the broker dies before it is settled where it came from."""


class Left(NamedTuple):
    """A message that was in a queue in the end."""

    body: bytes
    is_redelivered: bool
    headers: dict
    priority: int
    arrived_ms: float


def number_of(body):
    """Publisher and number of a message."""
    name, number, _ = body.split(b" ", 2)
    return name, int(number)


class Transaction:
    """What one transaction took and gave, and how far it came."""

    def __init__(self):
        self.inputs = []
        self.outputs = []
        """Queues and bodies."""
        self.state = "open"
        """open, committing, committed or rolled back."""


class Promises:
    """What was sent, confirmed, delivered and settled."""

    def __init__(self):
        self.sent = {}
        """Body: name of the route, publish time and delay in ms."""
        self.confirmed = set()
        self.deliveries = Counter()
        """By queue and body, over all."""
        self.settled = set()
        """Queues and bodies that somebody has asked to settle."""
        self.surely_settled = set()
        self.failures = {}
        """Queue and body: how many failures are surely counted."""
        self.transactions = []
        self.declared = set()
        self.deleted = set()
        self.kills = 0
        self.broken = []

    def delivery(self, queue, body, is_redelivered, headers):
        """A message came."""
        place = queue, body
        if body not in self.sent and not any(place in one.outputs for one in self.transactions):
            self.broken.append(f"{queue} delivered {body[:30]}, which nobody sent")
        if self.deliveries[place] and not is_redelivered and queue not in MAY_REPEAT:
            self.broken.append(f"{queue} delivered {body[:30]} again without the flag")
        if place in self.surely_settled:
            self.broken.append(f"{queue} delivered {body[:30]} after it was surely settled")
        count = (headers or {}).get("x-delivery-count", 0)
        # A kill may have failed what was on its way to a consumer: it counts for one.
        if not self.failures.get(place, 0) <= count <= self.deliveries[place] + self.kills:
            self.broken.append(
                f"{queue} delivered {body[:30]} with {count} failures: {self.failures.get(place, 0)} are sure,"
                f" and there were {self.deliveries[place]} deliveries"
            )
        self.deliveries[place] += 1

    # -- in the end -------------------------------------------------------------------------------

    def check(self, left):
        """Every promise that is broken, in words. *left* has the messages of each queue, in order."""
        for queue, messages in left.items():
            for message in messages:
                self.delivery(queue, message.body, message.is_redelivered, message.headers)
        words = self.broken[:]
        words += self._lost(left)
        words += self._doubled(left)
        for queue, messages in left.items():
            words += self._disordered(queue, messages)
        words += self._halved(left)
        words += [
            f"{message.body[:30]} came {early:.0f} ms early"
            for message in left["delayed"]
            if (early := self._due_ms(message.body) - message.arrived_ms) > 0
        ]
        return words

    def _lost(self, left):
        bodies = {queue: {message.body for message in messages} for queue, messages in left.items()}
        for body in self.confirmed:
            for queues in ROUTES[self.sent[body][0]].queues:
                if not any(body in bodies[queue] or (queue, body) in self.settled for queue in queues):
                    yield f"{body[:30]} was confirmed and is lost in {queues}"

    def _doubled(self, left):
        for queue, messages in left.items():
            most = 1 + self.kills if queue in MAY_REPEAT else 1
            for body, count in Counter(message.body for message in messages).items():
                if count > most:
                    yield f"{body[:30]} is {count} times in {queue}"

    def _disordered(self, queue, messages):
        """Messages of one publisher that stand in another order than they were sent in."""
        if queue in ("dead", "delayed"):
            return
        flags = [message.is_redelivered for message in messages]
        last = defaultdict(int)
        seen = set()
        if queue == "urgent":
            if any(one.priority < other.priority for one, other in pairwise(messages)):
                yield f"{queue} has a lower priority before a higher one"
        elif queue != "expired" and flags != sorted(flags, reverse=True):
            yield f"{queue} has a message that was delivered behind one that was not"
        for message in messages:
            name, number = number_of(message.body)
            if message.body in seen or ROUTES.get(name.split(b"-")[0].decode(), ROUTES["plain"]).expirations_ms:
                continue
            seen.add(message.body)
            line = name, message.priority
            if number < last[line]:
                yield f"{queue} has {message.body[:30]} behind {last[line]}"
            last[line] = number

    def _halved(self, left):
        bodies = {queue: {message.body for message in messages} for queue, messages in left.items()}
        there = bodies["input"]
        # From the last on: what one has not taken may have been taken by a later one.
        for number, one in reversed(list(enumerate(self.transactions))):
            found = sum(body in bodies[queue] for queue, body in one.outputs)
            back = sum(body in there for body in one.inputs)
            there.update(one.inputs)
            is_done = found == len(one.outputs) and not back
            is_undone = not found and back == len(one.inputs)
            allowed = {"committed": is_done, "committing": is_done or is_undone}.get(one.state, is_undone)
            if not allowed:
                yield (
                    f"transaction {number} is {one.state}: {found} of {len(one.outputs)} messages are there,"
                    f" {back} of {len(one.inputs)} inputs are back"
                )

    def _due_ms(self, body):
        _, sent_ms, delay_ms = self.sent[body]
        return sent_ms + delay_ms
