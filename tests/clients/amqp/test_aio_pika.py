"""aio-pika: connections that come back, confirms, iterators, remote calls."""

import asyncio

import aio_pika
import pytest
from aio_pika.patterns import RPC, Master

from tests.clients.kafka.child import in_child

LONGEST_S = 60


@pytest.fixture
def url(broker, name):
    host, port = broker.address
    return f"amqp://guest:guest@{host}:{port}/"


@pytest.fixture
def orders(name):
    """The name of a queue."""
    return name()


def run(coroutine):
    """Run one with a deadline."""
    return asyncio.run(asyncio.wait_for(coroutine, LONGEST_S))


@in_child
def test_published_messages_are_confirmed_and_got(url, orders):
    async def body():
        async with await aio_pika.connect_robust(url) as connection:
            channel = await connection.channel()
            queue = await channel.declare_queue(orders, durable=True)
            for number in range(50):
                message = aio_pika.Message(b"%d" % number, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
                await channel.default_exchange.publish(message, orders)
            got = [(await queue.get(no_ack=True)).body for _ in range(50)]
        assert got == [b"%d" % number for number in range(50)]

    run(body())


@in_child
def test_iterator_gives_messages_that_are_processed_and_acked(url, orders):
    async def body():
        async with await aio_pika.connect_robust(url) as connection:
            channel = await connection.channel()
            await channel.set_qos(prefetch_count=5)
            queue = await channel.declare_queue(orders, durable=True)
            messages = [aio_pika.Message(b"%d" % number) for number in range(50)]
            await asyncio.gather(*(channel.default_exchange.publish(message, orders) for message in messages))
            got = []
            async with queue.iterator() as iterator:
                async for message in iterator:
                    async with message.process():
                        got.append(message.body)
                    if len(got) == 50:
                        break
            declared = await channel.declare_queue(orders, passive=True)
        assert sorted(got) == sorted(b"%d" % number for number in range(50))
        assert declared.declaration_result.message_count == 0

    run(body())


@in_child
def test_what_is_raised_in_processing_rejects_the_message(url, orders):
    async def body():
        async with await aio_pika.connect_robust(url) as connection:
            channel = await connection.channel()
            queue = await channel.declare_queue(orders, durable=True)
            await channel.default_exchange.publish(aio_pika.Message(b"hello"), orders)
            message = await queue.get()
            with pytest.raises(ValueError, match="broken"):
                async with message.process(requeue=True):
                    raise ValueError("broken")
            again = await queue.get(no_ack=True)
        assert again.redelivered

    run(body())


@in_child
def test_topic_exchange_and_headers(url, orders):
    async def body():
        async with await aio_pika.connect_robust(url) as connection:
            channel = await connection.channel()
            exchange = await channel.declare_exchange(orders, aio_pika.ExchangeType.TOPIC)
            queue = await channel.declare_queue(exclusive=True)
            await queue.bind(exchange, "orders.*.paid")
            message = aio_pika.Message(b"hello", headers={"amount": 12.5, "items": ["a", {"b": 1}]}, app_id="shop")
            await exchange.publish(message, "orders.7.paid")
            got = await queue.get(no_ack=True)
        assert (got.routing_key, got.app_id) == ("orders.7.paid", "shop")
        assert got.headers == {"amount": 12.5, "items": ["a", {"b": 1}]}

    run(body())


@in_child
def test_unroutable_message_is_an_error_for_its_publisher(url, orders):
    async def body():
        async with await aio_pika.connect_robust(url) as connection:
            channel = await connection.channel(on_return_raises=True)
            with pytest.raises(aio_pika.exceptions.DeliveryError):
                await channel.default_exchange.publish(aio_pika.Message(b"lost"), orders)

    run(body())


@in_child
def test_remote_calls(url, orders):
    async def multiply(*, x, y):
        return x * y

    async def body():
        async with await aio_pika.connect_robust(url) as connection:
            channel = await connection.channel()
            rpc = await RPC.create(channel)
            await rpc.register(orders, multiply, auto_delete=True)
            answers = await asyncio.gather(*(rpc.call(orders, kwargs={"x": x, "y": 2}) for x in range(20)))
        assert answers == [x * 2 for x in range(20)]

    run(body())


@in_child
def test_master_hands_out_tasks(url, orders):
    async def body():
        done = asyncio.Queue()

        async def work(*, number):
            await done.put(number)

        async with await aio_pika.connect_robust(url) as connection:
            master = Master(await connection.channel())
            worker = await master.create_worker(orders, work, auto_delete=True)
            for number in range(10):
                await master.create_task(orders, kwargs={"number": number})
            numbers = [await done.get() for _ in range(10)]
            await worker.close()
        assert sorted(numbers) == list(range(10))

    run(body())


@in_child
def test_transaction_of_aio_pika(url, orders):
    async def body():
        async with await aio_pika.connect_robust(url) as connection:
            channel = await connection.channel(publisher_confirms=False)
            queue = await channel.declare_queue(orders, durable=True)
            async with channel.transaction():
                await channel.default_exchange.publish(aio_pika.Message(b"kept"), orders)
            transaction = channel.transaction()
            await transaction.select()
            await channel.default_exchange.publish(aio_pika.Message(b"lost"), orders)
            await transaction.rollback()
            bodies = [(await queue.get(no_ack=True)).body, await queue.get(no_ack=True, fail=False)]
        assert bodies == [b"kept", None]

    run(body())
