import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.Delivery;
import com.rabbitmq.client.GetResponse;
import com.rabbitmq.client.MessageProperties;
import com.rabbitmq.client.RpcClient;
import com.rabbitmq.client.RpcClientParams;
import com.rabbitmq.client.RpcServer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** The commands that publish and consume, each on a channel of its own. */
final class Messages {
    private static final int PATIENCE_MS = 20_000;

    private final Connection connection;

    Messages(Connection connection) {
        this.connection = connection;
    }

    void addTo(Map<String, Client.Command> commands) {
        commands.put("publish", this::publish);
        commands.put("consume", this::consume);
        commands.put("return", this::publishUnroutable);
        commands.put("cancelled", this::deleteUnderConsumer);
        commands.put("passive", this::declarePassively);
        commands.put("requeue", this::requeue);
        commands.put("declare", this::declare);
        commands.put("rpc", this::callRemotely);
        commands.put("server", words -> String.valueOf(connection.getServerProperties().get("product")));
    }

    static <T> T within(BlockingQueue<T> queue) throws Exception {
        T value = queue.poll(PATIENCE_MS, TimeUnit.MILLISECONDS);
        if (value == null) {
            throw new TimeoutException("nothing came within " + PATIENCE_MS + " ms");
        }
        return value;
    }

    static String text(byte[] body) {
        return new String(body, StandardCharsets.UTF_8);
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    /** Sends so many persistent messages to a queue that it declares; the answer is true when all are confirmed. */
    private Object publish(String[] words) throws Exception {
        try (Channel channel = connection.createChannel()) {
            channel.queueDeclare(words[0], true, false, false, null);
            channel.confirmSelect();
            for (int number = 0; number < Integer.parseInt(words[1]); number++) {
                channel.basicPublish("", words[0], MessageProperties.PERSISTENT_TEXT_PLAIN, bytes("message " + number));
            }
            return channel.waitForConfirms(PATIENCE_MS);
        }
    }

    /** Takes so many messages with a prefetch; the last one's ack is for all. */
    private Object consume(String[] words) throws Exception {
        int count = Integer.parseInt(words[1]);
        BlockingQueue<Delivery> deliveries = new LinkedBlockingQueue<>();
        List<Object> bodies = new ArrayList<>();
        try (Channel channel = connection.createChannel()) {
            channel.basicQos(count);
            channel.basicConsume(words[0], false, (tag, delivery) -> deliveries.add(delivery), tag -> {});
            for (int number = 0; number < count; number++) {
                Delivery delivery = within(deliveries);
                bodies.add(List.of(text(delivery.getBody()), delivery.getEnvelope().isRedeliver()));
                if (number == count - 1) {
                    channel.basicAck(delivery.getEnvelope().getDeliveryTag(), true);
                }
            }
        }
        return bodies;
    }

    /** Publishes what no queue gets; the answer is what happened, in order. */
    private Object publishUnroutable(String[] words) throws Exception {
        BlockingQueue<List<Object>> events = new LinkedBlockingQueue<>();
        try (Channel channel = connection.createChannel()) {
            channel.confirmSelect();
            channel.addReturnListener(back -> events.add(
                    List.of("return", back.getReplyCode(), back.getReplyText(), back.getRoutingKey(), text(back.getBody()))));
            channel.addConfirmListener((tag, multiple) -> events.add(List.of("ack", tag)),
                    (tag, multiple) -> events.add(List.of("nack", tag)));
            channel.basicPublish("", words[0], true, null, bytes("back"));
            return List.of(within(events), within(events));
        }
    }

    /** Deletes a queue under its consumer; the answer is the tag that was cancelled. */
    private Object deleteUnderConsumer(String[] words) throws Exception {
        BlockingQueue<String> cancelled = new LinkedBlockingQueue<>();
        try (Channel channel = connection.createChannel(); Channel other = connection.createChannel()) {
            channel.queueDeclare(words[0], true, false, false, null);
            channel.basicConsume(words[0], false, "counter", (tag, delivery) -> {}, cancelled::add);
            other.queueDelete(words[0]);
            return within(cancelled);
        }
    }

    /** Asks for a queue; one that is not there closes the channel. */
    private Object declarePassively(String[] words) throws Exception {
        Channel channel = connection.createChannel();
        AMQP.Queue.DeclareOk found = channel.queueDeclarePassive(words[0]);
        channel.close();
        return List.of(found.getMessageCount(), found.getConsumerCount());
    }

    /** Declares a queue with one x-argument that is a number. */
    private Object declare(String[] words) throws Exception {
        Channel channel = connection.createChannel();
        channel.queueDeclare(words[0], true, false, false, Map.of(words[1], Integer.valueOf(words[2])));
        channel.close();
        return "";
    }

    /** Takes a message, gives it back, and takes it again. */
    private Object requeue(String[] words) throws Exception {
        List<Object> got = new ArrayList<>();
        try (Channel channel = connection.createChannel()) {
            for (boolean again : new boolean[] {true, false}) {
                GetResponse message = channel.basicGet(words[0], false);
                got.add(List.of(text(message.getBody()), message.getEnvelope().isRedeliver(), message.getMessageCount()));
                channel.basicReject(message.getEnvelope().getDeliveryTag(), again);
            }
        }
        return got;
    }

    /** A server on a queue, and a client that gets its answer by direct reply-to. */
    private Object callRemotely(String[] words) throws Exception {
        try (Channel serving = connection.createChannel(); Channel asking = connection.createChannel()) {
            serving.queueDeclare(words[0], false, true, true, null);
            RpcServer server = new RpcServer(serving, words[0]) {
                @Override
                public byte[] handleCall(Delivery request, AMQP.BasicProperties reply) {
                    return bytes("re: " + text(request.getBody()));
                }
            };
            Thread loop = new Thread(() -> {
                try {
                    server.mainloop();
                } catch (Exception ended) {
                    Thread.currentThread().interrupt();
                }
            });
            // It ends with its channel.
            loop.setDaemon(true);
            loop.start();
            RpcClientParams settings = new RpcClientParams().channel(asking).exchange("").routingKey(words[0]).timeout(PATIENCE_MS);
            try (RpcClient client = new RpcClient(settings)) {
                return client.stringCall("one");
            }
        }
    }
}
