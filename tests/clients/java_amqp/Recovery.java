import com.rabbitmq.client.BuiltinExchangeType;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.Recoverable;
import com.rabbitmq.client.RecoveryListener;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;

/** A connection that the client brings back with all that was declared on it, when the broker was restarted. */
final class Recovery {
    private final ConnectionFactory factory;
    private final BlockingQueue<String> bodies = new LinkedBlockingQueue<>();
    private final BlockingQueue<Boolean> recoveries = new LinkedBlockingQueue<>();
    private Connection connection;
    private Channel channel;
    private String exchange;
    private String queue;

    Recovery(ConnectionFactory factory) {
        this.factory = factory;
    }

    void addTo(Map<String, Client.Command> commands) {
        commands.put("recovery-begin", this::begin);
        commands.put("recovery-wait", words -> Messages.within(recoveries));
        commands.put("recovery-check", words -> check());
        commands.put("recovery-end", words -> end());
    }

    /** An exchange that is not durable, a queue that the server names, its binding and its consumer. */
    private Object begin(String[] words) throws Exception {
        exchange = words[0];
        connection = factory.newConnection("recovering");
        ((Recoverable) connection).addRecoveryListener(new RecoveryListener() {
            @Override
            public void handleRecovery(Recoverable recovered) {
                recoveries.add(true);
            }

            @Override
            public void handleRecoveryStarted(Recoverable recovering) {}
        });
        channel = connection.createChannel();
        channel.exchangeDeclare(exchange, BuiltinExchangeType.TOPIC, false, true, null);
        queue = channel.queueDeclare().getQueue();
        channel.queueBind(queue, exchange, "orders.*");
        channel.basicConsume(queue, true, (tag, delivery) -> bodies.add(Messages.text(delivery.getBody())), tag -> {});
        return queue;
    }

    /** Sends a message through all of it. */
    private Object check() throws Exception {
        channel.basicPublish(exchange, "orders.new", true, null, Messages.bytes("here"));
        return List.of(Messages.within(bodies));
    }

    private Object end() throws Exception {
        connection.close();
        return "";
    }
}
