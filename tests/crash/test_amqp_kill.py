"""The real process, killed at random moments while AMQP clients publish, consume, trade and declare.

Clients of py-amqp write down what they were promised. In the end all queues are emptied, and what they had
must agree with every promise:

- a confirmed message is where it belongs, once, unless somebody has settled it; nothing is there that nobody sent;
- what comes twice is flagged the second time; what was surely settled never comes back;
- each publisher's messages are in order in each queue, those that were delivered before all others;
- a transaction is there whole or not at all, its acks too;
- a dead letter or a delayed message comes at least once, and twice only because of a kill; no delay is cut short;
- failures of a quorum queue are counted on, and none is that was not;
- what was declared is there, what was deleted is not;
- `portask verify` finds nothing wrong.

KILLED_RUNS in the environment says how many seeds there are, 50 if it does not; `-k "seed-17]"` runs one again.
"""

import os
import random
import shutil
import subprocess
import sys
import time

import amqp
import gevent
import pytest

from portask.client import Client
from tests.clients.amqp.broker import Portask
from tests.clients.amqp.session import eventually
from tests.crash.amqp_clients import Architect, Publisher, Trader, Worker
from tests.crash.amqp_promises import ROUTES, Left, Promises

SEEDS = range(int(os.environ.get("KILLED_RUNS", "50")))
TO_THE_DEAD = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
TO_THE_EXPIRED = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "expired"}
QUEUES = {
    "plain": {},
    "urgent": {"x-max-priority": 5},
    "work": TO_THE_DEAD,
    "limited": {"x-queue-type": "quorum", "x-delivery-limit": 3, **TO_THE_DEAD},
    "brief": {"x-message-ttl": 40, **TO_THE_EXPIRED},
    "fleeting": TO_THE_EXPIRED,
    "news-1": {},
    "news-2": {},
    "news-3": {},
    "input": {},
    "left": {},
    "right": {},
    "delayed": {},
    "dead": {},
    "expired": {},
    "receipts": {},
}
WORKED = ("plain", "plain", "urgent", "work", "limited", "news-1")
POLICY = {"vhost": "/", "name": "short", "pattern": "^site-1$", "apply-to": "queues", "priority": 7}


@pytest.fixture(scope="module")
def declared(tmp_path_factory):
    """A data directory in which everything is declared, and its definitions."""
    server = Portask(tmp_path_factory.mktemp("declared") / "data", "--journal-bytes", "65536")
    server.start()
    try:
        with amqp.Connection("{}:{}".format(*server.address)) as connection:
            channel = connection.channel()
            for queue, arguments in QUEUES.items():
                channel.queue_declare(queue, durable=True, auto_delete=False, arguments=arguments)
            channel.exchange_declare("news", "fanout", durable=True, auto_delete=False)
            channel.exchange_declare(
                *("later", "x-delayed-message"),
                durable=True,
                auto_delete=False,
                arguments={"x-delayed-type": "direct"},
            )
            for queue in ("news-1", "news-2", "news-3"):
                channel.queue_bind(queue, "news")
            channel.queue_bind("delayed", "later", "delayed")
        with Client(f"127.0.0.1:{server.port}") as client:
            client.define({"policies": [{**POLICY, "definition": {"max-length": 2}}]})
            definitions = client.definitions()
        assert server.stop() == 0
    finally:
        server.kill()
    return server.directory, definitions


def names(definitions):
    """What is declared, as pairs of a kind and a name."""
    found = {(kind, entry["name"]) for kind in ("queues", "exchanges", "policies") for entry in definitions[kind]}
    return found | {("bindings", entry["destination"]) for entry in definitions["bindings"]}


def clients(promises, rng):
    """A mix of clients."""
    routes = list(ROUTES)
    rng.shuffle(routes)
    found = [Publisher(route, promises, rng) for route in (*routes[: rng.randrange(3, 8)], "plain", "input")]
    found += [Worker(queue, promises, rng) for queue in rng.sample(WORKED, rng.randrange(2, 6))]
    return [*found, Trader(promises, rng), Architect(promises, rng)]


def empty(server, promises):
    """All messages of each queue, in order, taken out as they come until every confirmed one has come that must."""
    left = {queue: [] for queue in QUEUES}
    with amqp.Connection("{}:{}".format(*server.address), heartbeat=0) as connection:
        channel = connection.channel()

        def count(queue):
            return channel.queue_declare(queue, passive=True).message_count

        def take(queue):
            messages = left[queue]

            def receive(message):
                properties = message.properties
                messages.append(
                    Left(
                        bytes(message.body),
                        message.delivery_info["redelivered"],
                        properties.get("application_headers", {}),
                        min(properties.get("priority", 0), 5),
                        time.time() * 1000,
                    )
                )

            channel.basic_consume(queue, callback=receive, no_ack=True)

        def serve(is_done):
            def served():
                while not is_done():
                    connection.drain_events(timeout=0.05)
                return True

            eventually(lambda: _quietly(served))

        eventually(lambda: not count("brief") and not count("fleeting"))
        waiting = {queue: count(queue) for queue in QUEUES if queue not in ("brief", "fleeting")}
        for queue in waiting:
            take(queue)
        serve(lambda: all(len(left[queue]) >= number for queue, number in waiting.items()))
        for queue in ("expired", "delayed"):
            late = {body for body in promises.confirmed if ((queue,),) == ROUTES[promises.sent[body][0]].queues}
            serve(lambda late=late, queue=queue: late <= {message.body for message in left[queue]})
    left["receipts"].clear()
    return left


def _quietly(served):
    """Whether *served* was, before there was nothing to be read for a while."""
    try:
        return served()
    except TimeoutError:
        return False


@pytest.mark.parametrize("seed", SEEDS, ids="seed-{}".format)
def test_no_promise_is_broken_when_the_process_is_killed(seed, declared, tmp_path):
    template, definitions = declared
    rng = random.Random(seed)
    promises = Promises()
    shutil.copytree(template, tmp_path / "data")
    server = Portask(
        tmp_path / "data",
        *("--journal-bytes", str(rng.choice((65536, 300_000, 33_554_432)))),
        *("--segment-bytes", str(rng.choice((65536, 500_000)))),
        *("--tail-cache-bytes", str(rng.choice((0, 100_000, 16_777_216)))),
    )
    mix = clients(promises, rng)
    try:
        for _ in range(rng.choice((1, 1, 2))):
            server.start()
            running = [gevent.spawn(client.run, server.address) for client in mix]
            gevent.sleep(0.05 + rng.random() * 0.6)
            server.kill()
            promises.kills += 1
            gevent.joinall(running, timeout=20, raise_error=True)
        server.start()
        with Client(f"127.0.0.1:{server.port}") as client:
            found = names(client.definitions())
        left = empty(server, promises)
    finally:
        server.kill()
        print(
            f"seed {seed}: {len(promises.confirmed)} confirmed, {len(promises.surely_settled)} surely acked,"
            f" {len(promises.transactions)} transactions; again: pytest {__file__} -k 'seed-{seed}]'"
        )

    assert promises.check(left) == []
    assert names(definitions) | promises.declared <= found
    assert not promises.deleted & found
    command = [sys.executable, "-m", "portask", "verify", server.directory]
    verified = subprocess.run(command, capture_output=True, text=True, check=False)
    assert verified.returncode == 0, verified.stdout + verified.stderr
