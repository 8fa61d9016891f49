"""Sessions with kombu, one per run: the broker's URL and the session's name are the arguments."""

import sys
import threading
import time
import uuid
from queue import Empty

from amqp.exceptions import ChannelError
from kombu import Connection
from kombu.pidbox import Mailbox

LONGEST_S = 20


def fresh(name):
    """A name that no earlier run has used."""
    return f"kombu-{name}-{uuid.uuid4().hex[:8]}"


def simple_queue(connection):
    """A durable queue: counted, in order, with headers, empty in the end, and acked for others."""
    name = fresh("simple")
    with connection.SimpleQueue(name) as queue:
        for number in range(3):
            queue.put({"number": number}, headers={"of": 3}, compression="zlib")
        # RabbitMQ counts before it has taken all that nothing confirms, on the same channel too.
        deadline = time.monotonic() + LONGEST_S
        while queue.qsize() < 3:
            assert time.monotonic() < deadline, queue.qsize()
        for number in range(3):
            message = queue.get(timeout=LONGEST_S)
            assert (message.payload, message.headers["of"]) == ({"number": number}, 3)
            message.ack()
        assert queue.qsize() == 0
        try:
            raise AssertionError(f"it came from nowhere: {queue.get(timeout=0.1)}")
        except Empty:
            bound = queue.queue
    bound.delete()


def simple_buffer(connection):
    """A transient queue without acks, counted and gone with its consumer."""
    with connection.SimpleBuffer(fresh("buffer")) as queue:
        for text in ("one", "two"):
            queue.put(text)
        assert [queue.get(timeout=LONGEST_S).payload for _ in range(2)] == ["one", "two"]
        assert queue.qsize() == 0
        bound = queue.queue
    try:
        bound.queue_declare(passive=True)
    except ChannelError:
        return
    raise AssertionError("it is there without its consumer")


def listening(connection, mailbox, hostname, answer):
    """A node that listens in a thread until the event it returns is set."""
    node = mailbox(connection).Node(hostname, state=hostname)
    node.handler(answer)
    consumer = node.listen(channel=connection.channel())
    over = threading.Event()

    def listen():
        with connection, consumer:
            while not over.is_set():
                try:
                    connection.drain_events(timeout=0.1)
                except TimeoutError:
                    continue

    thread = threading.Thread(target=listen)
    thread.start()
    return over, thread


def double(state, number):
    """What a node is asked for."""
    return [state, 2 * number]


def of_nodes(connection, names, ask):
    """Ask a mailbox whose nodes are *names*."""
    mailbox = Mailbox(fresh("mailbox"), type="fanout", accept=["json"])
    nodes = [listening(connection.clone(), mailbox, name, double) for name in names]
    try:
        return ask(mailbox(connection))
    finally:
        for over, thread in nodes:
            over.set()
            thread.join()


def mailbox(connection):
    """One node of two is called and answers."""
    answers = of_nodes(
        connection,
        ["first", "second"],
        lambda asked: asked.call(["second"], "double", {"number": 4}, timeout=LONGEST_S),
    )
    assert answers == [{"second": ["second", 8]}], answers


def broadcast(connection):
    """All nodes answer."""
    names = ["first", "second", "third"]
    answers = of_nodes(
        connection, names, lambda asked: asked.multi_call("double", {"number": 1}, timeout=LONGEST_S, limit=3)
    )
    assert sorted(name for answer in answers for name in answer) == names, answers


SESSIONS = {session.__name__: session for session in (simple_queue, simple_buffer, mailbox, broadcast)}

if __name__ == "__main__":
    with Connection(sys.argv[1]) as connection:
        SESSIONS[sys.argv[2]](connection)
