"""The other side of a Kafka connection: a socket, and the tables to encode requests and decode responses."""

import socket
import struct

from handlers.kafka import tables

TIMEOUT_S = 20


class KafkaPeer:
    """A client that says exactly what it is told, in any version."""

    def __init__(self, port, client_id="peer", host="127.0.0.1"):
        self.sock = socket.create_connection((host, port), timeout=TIMEOUT_S)
        self.client_id = client_id
        self.correlation = 0

    def send(self, api, version, request=None, **fields):
        """Send a request, made of *fields* when it is not given; its correlation id."""
        self.correlation += 1
        self.sock.sendall(encode(api, version, request, self.correlation, self.client_id, **fields))
        return self.correlation

    def read(self, api, version):
        """The next response, which must be one of *api* and use up all its bytes."""
        return decode(api, version, self.read_frame())[1]

    def ask(self, api, version, request=None, **fields):
        """Send a request and return its response."""
        sent = self.send(api, version, request, **fields)
        correlation, response = decode(api, version, self.read_frame())
        assert correlation == sent
        return response

    def send_bytes(self, data):
        """Send *data* as it is."""
        self.sock.sendall(data)

    def send_frame(self, data):
        """Send *data* with its size before it."""
        self.sock.sendall(struct.pack(">i", len(data)) + data)

    def read_frame(self):
        """The next response as it is, without its size. Raises ConnectionResetError at the end."""
        return self.read_exactly(struct.unpack(">i", self.read_exactly(4))[0])

    def read_exactly(self, size):
        """The next *size* bytes. Raises ConnectionResetError when there are fewer."""
        data = bytearray()
        while len(data) < size:
            received = self.sock.recv(min(size - len(data), 1 << 20))
            if not received:
                raise ConnectionResetError(f"the server has gone after {len(data)} of {size} bytes")
            data += received
        return bytes(data)

    def is_closed(self):
        """Whether the server has closed; waits for it or for more bytes."""
        try:
            return self.sock.recv(1) == b""
        except ConnectionResetError:
            return True

    def half_close(self):
        """Say that nothing more will be sent."""
        self.sock.shutdown(socket.SHUT_WR)

    def close(self):
        """Hang up."""
        self.sock.close()

    # -- what most tests ask ----------------------------------------------------------------------

    def produce(self, topic, batch, version=9, partition=0, **fields):
        """The answer for one partition; *topic* is its name, from version 13 on its id."""
        response = self.ask(tables.PRODUCE, version, produce_request(topic, batch, version, partition, **fields))
        return response.responses[0].partition_responses[0]

    def fetch(self, topic, offset=0, version=11, partition=0, **fields):
        """The answer for one partition, without a session and without waiting."""
        request = fetch_request({(topic, partition): offset}, version, **fields)
        return self.ask(tables.FETCH, version, request).responses[0].partitions[0]

    def introduce(self, name, version="1.0"):
        """Say which client library this is."""
        response = self.ask(tables.API_VERSIONS, 3, client_software_name=name, client_software_version=version)
        assert response.error_code == 0


def encode(api, version, request=None, correlation=1, client_id="peer", **fields):
    """The frame of a request."""
    header = tables.REQUEST_HEADER.value(
        request_api_key=api.key, request_api_version=version, correlation_id=correlation, client_id=client_id
    )
    head = b"".join(tables.REQUEST_HEADER.encode(api.request_header(version))(header))
    body = b"".join(api.encode_request(version)(api.Request(**fields) if request is None else request))
    return struct.pack(">i", len(head) + len(body)) + head + body


def decode(api, version, frame):
    """Correlation id and response of a frame without its size; nothing may follow them."""
    header, position = tables.RESPONSE_HEADER.decode(api.response_header(version))(frame, 0, len(frame))
    response, position = api.decode_response(version)(frame, position, len(frame))
    assert position == len(frame)
    return header.correlation_id, response


def produce_request(topic, batch, version=9, partition=0, *, acks=-1, transactional_id=None):
    """A Produce of one batch."""
    return produce_all({(topic, partition): batch}, version, acks=acks, transactional_id=transactional_id)


def produce_all(batches, version=9, *, acks=-1, transactional_id=None):
    """A Produce of a batch for each topic and partition in *batches*."""
    request = tables.PRODUCE.Request
    topics = {}
    for (topic, partition), batch in batches.items():
        data = request.PartitionProduceData(index=partition, records=batch)
        topics.setdefault(topic, []).append(data)
    return request(
        transactional_id=transactional_id,
        acks=acks,
        timeout_ms=30_000,
        topic_data=[
            request.TopicProduceData(**_named("name", topic, version), partition_data=data)
            for topic, data in topics.items()
        ],
    )


def fetch_request(
    offsets,
    version=11,
    *,
    max_wait_ms=0,
    min_bytes=1,
    max_bytes=1 << 30,
    partition_max_bytes=1 << 20,
    session=(0, -1),
    forgotten=(),
    isolation_level=0,
    replica_id=-1,
    **partition_fields,
):
    """A Fetch of topics (names or ids) and partitions at *offsets*; *forgotten* are topics and partitions too."""
    request = tables.FETCH.Request
    topics = {}
    for (topic, partition), offset in offsets.items():
        fetched = request.FetchPartition(
            partition=partition, fetch_offset=offset, partition_max_bytes=partition_max_bytes, **partition_fields
        )
        topics.setdefault(topic, []).append(fetched)
    return request(
        replica_id=replica_id,
        replica_state=request.ReplicaState(replica_id=replica_id),
        max_wait_ms=max_wait_ms,
        min_bytes=min_bytes,
        max_bytes=max_bytes,
        isolation_level=isolation_level,
        session_id=session[0],
        session_epoch=session[1],
        topics=[request.FetchTopic(**_named("topic", topic), partitions=parts) for topic, parts in topics.items()],
        forgotten_topics_data=[
            request.ForgottenTopic(**_named("topic", topic), partitions=[partition]) for topic, partition in forgotten
        ],
    )


def _named(field, topic, version=None):
    """How a request names *topic*: by its id when it is bytes."""
    return {"topic_id": topic} if isinstance(topic, bytes) else {field: topic}
