"""Policies at work: what queues and exchanges make of them, whenever they come."""

import gevent
import pytest

from portask.definitions.parameters import Parameter
from portask.definitions.policy import Policy
from portask.queues.queues import FOLLOWING
from portask.storage.memory import MemoryStorage
from portask.users import Permission


@pytest.fixture
def host(broker):
    return broker.virtual_hosts.get("/")


def test_a_queue_follows_a_policy_that_comes_later(broker, host):
    queue = host.queues.declare("q", durable=True)
    broker.policies.put(Policy("/", "p", "^q", {"message-ttl": 5}, "queues"))

    assert queue.settings.message_ttl_ms == 5
    assert queue.arguments == {}


@pytest.mark.parametrize("options", [{"durable": True}, {"durable": False}, {"exclusive": True, "owner": object()}])
def test_a_queue_follows_a_policy_that_was_there_before(broker, host, options):
    broker.policies.put(Policy("/", "p", "^q", {"max-length": 5}, "queues"))

    assert host.queues.declare("q", **options).settings.max_length == 5


def test_what_was_known_of_a_queue_before_it_followed_its_policy_is_outdated(broker, host):
    queues = [host.queues.declare(f"q{number}") for number in range(2 * FOLLOWING)]
    seen = []

    def look():
        while queues[-1].settings.message_ttl_ms is None:
            seen.append(host.generation)
            gevent.sleep(0)

    looking = gevent.spawn(look)
    broker.policies.put(Policy("/", "p", "^q", {"message-ttl": 5}, "queues"))
    looking.join()

    assert host.generation not in seen


def test_a_queue_goes_back_to_its_arguments_when_the_policy_goes(broker, host):
    queue = host.queues.declare("q", durable=True, arguments={"x-message-ttl": 50})
    broker.policies.put(Policy("/", "p", "", {"message-ttl": 5}))
    assert queue.settings.message_ttl_ms == 5

    broker.policies.delete("/", "p")
    assert queue.settings.message_ttl_ms == 50


def test_a_queue_follows_its_policy_after_a_restart(make_broker):
    storage = MemoryStorage()
    broker = make_broker(storage=storage)
    broker.virtual_hosts.get("/").queues.declare("q", durable=True, arguments={"x-queue-type": "quorum"})
    broker.policies.put(Policy("/", "p", "", {"delivery-limit": 5}))

    queue = make_broker(storage=storage).virtual_hosts.get("/").queues.get("q")
    assert queue.settings.delivery_limit == 5


def test_a_policy_of_another_virtual_host_has_no_effect(broker, host):
    broker.virtual_hosts.create("other")
    queue = host.queues.declare("q", durable=True)
    broker.policies.put(Policy("other", "p", "", {"message-ttl": 5}))

    assert queue.settings.message_ttl_ms is None
    assert broker.virtual_hosts.get("other").queues.declare("q", durable=True).settings.message_ttl_ms == 5


def test_a_policy_does_not_make_a_queue_another_one(broker, host):
    queue = host.queues.declare("q", durable=True)
    broker.policies.put(Policy("/", "p", "", {"message-ttl": 5}))

    assert host.queues.declare("q", durable=True) is queue


def test_a_stream_keeps_what_its_policy_says(make_broker):
    storage = MemoryStorage()
    broker = make_broker(storage=storage)
    queues = broker.virtual_hosts.get("/").queues
    broker.policies.put(Policy("/", "p", "", {"max-age": "1h"}))
    stream = queues.declare("s", durable=True, arguments={"x-queue-type": "stream", "x-max-age": "7D"})
    assert stream.topic.config.retention_ms == 3_600_000

    again = make_broker(storage=storage)
    stream = again.virtual_hosts.get("/").queues.get("s")
    assert stream.topic.config.retention_ms == 3_600_000
    again.policies.delete("/", "p")
    assert stream.topic.config.retention_ms == 7 * 86_400_000


def test_an_exchange_follows_policies_before_and_after(broker, host):
    before = host.declare_exchange("x1", "topic", durable=True)
    broker.policies.put(Policy("/", "p", "^x", {"alternate-exchange": "amq.fanout"}, "exchanges"))
    after = host.declare_exchange("x2", "topic")

    assert before.alternate == after.alternate == "amq.fanout"
    broker.policies.delete("/", "p")
    assert before.alternate is after.alternate is None


def test_an_exchange_follows_its_policy_after_a_restart(make_broker):
    storage = MemoryStorage()
    broker = make_broker(storage=storage)
    broker.virtual_hosts.get("/").declare_exchange("x", "topic", durable=True)
    broker.policies.put(Policy("/", "p", "", {"alternate-exchange": "amq.fanout"}))

    assert make_broker(storage=storage).virtual_hosts.get("/").exchange("x").alternate == "amq.fanout"


def test_the_alternate_exchange_of_the_arguments_goes_before_the_policys(broker, host):
    exchange = host.declare_exchange("x", "topic", arguments={"alternate-exchange": "amq.topic"})
    broker.policies.put(Policy("/", "p", "", {"alternate-exchange": "amq.fanout"}))

    assert exchange.alternate == "amq.topic"


def test_routes_that_were_found_before_count_no_more_when_a_policy_comes(broker, host):
    queue = host.queues.declare("q", durable=True)
    host.bind("amq.fanout", "queue", "q", "")
    exchange = host.declare_exchange("x", "topic")
    generation = host.generation
    broker.policies.put(Policy("/", "p", "^x$", {"alternate-exchange": "amq.fanout"}))

    assert host.generation != generation
    assert host.route(exchange, ["nobody"], b"").destinations == (queue,)


def test_a_deleted_virtual_host_takes_along_what_is_said_of_it(make_broker):
    storage = MemoryStorage()
    broker = make_broker(storage=storage)
    broker.virtual_hosts.create("other")
    broker.policies.put(Policy("other", "p", "", {"expires": 5}))
    broker.users.permit(Permission("guest", "other", "", "", ""))
    broker.parameters.put(Parameter("other", "c", "n"), 1)
    broker.virtual_hosts.delete("other")

    for each in (broker, make_broker(storage=storage)):
        assert each.policies.policies() == each.parameters.items() == []
        assert [permission.virtual_host for permission in each.users.permissions()] == ["/"]
