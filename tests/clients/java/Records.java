import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.TimeoutException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** The commands of the producer and of consumers in classic groups. */
final class Records {
    private static final Duration POLL = Duration.ofMillis(200);
    private static final int POLLS = 200;

    private final String bootstrap;

    Records(String bootstrap) {
        this.bootstrap = bootstrap;
    }

    void addTo(Map<String, Client.Command> commands) {
        commands.put("produce", this::produce);
        commands.put("consume", this::consume);
        commands.put("group", this::consumeInGroup);
        commands.put("rebalance", this::rebalance);
        commands.put("offsets-for-times", this::offsetsForTimes);
    }

    /** Sends the records "value 0" and so on; the answer is their offsets. */
    private Object produce(String[] words) throws Exception {
        Properties settings = Client.settings(bootstrap);
        settings.put("compression.type", words[2]);
        settings.put("linger.ms", 1);
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (Producer<String, String> producer =
                new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            for (int number = 0; number < Integer.parseInt(words[1]); number++) {
                ProducerRecord<String, String> record = new ProducerRecord<>(words[0], "key " + number, "value " + number);
                record.headers().add("number", String.valueOf(number).getBytes(StandardCharsets.UTF_8));
                sent.add(producer.send(record));
            }
            producer.flush();
        }
        List<Long> offsets = new ArrayList<>();
        for (Future<RecordMetadata> answer : sent) {
            offsets.add(answer.get().offset());
        }
        return offsets;
    }

    private Consumer<String, String> consumer(String group) {
        Properties settings = Client.settings(bootstrap);
        settings.put("auto.offset.reset", "earliest");
        settings.put("enable.auto.commit", false);
        if (group != null) {
            settings.put("group.id", group);
            settings.put("group.protocol", "classic");
            settings.put("heartbeat.interval.ms", 300);
        }
        return new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
    }

    private static List<Object> poll(Consumer<String, String> consumer, int count) {
        List<Object> got = new ArrayList<>();
        for (int polls = 0; got.size() < count; polls++) {
            if (polls == POLLS) {
                throw new TimeoutException(got.size() + " of " + count + " records");
            }
            for (ConsumerRecord<String, String> record : consumer.poll(POLL)) {
                if (got.size() < count) {
                    Header header = record.headers().lastHeader("number");
                    got.add(List.of(
                        record.offset(), record.key(), record.value(), new String(header.value(), StandardCharsets.UTF_8)));
                }
            }
        }
        return got;
    }

    /** Reads partition 0 without a group from an offset on. */
    private Object consume(String[] words) {
        try (Consumer<String, String> consumer = consumer(null)) {
            TopicPartition partition = new TopicPartition(words[0], 0);
            consumer.assign(List.of(partition));
            consumer.seek(partition, Long.parseLong(words[1]));
            return poll(consumer, Integer.parseInt(words[2]));
        }
    }

    /** Reads what the group has not read yet and commits behind the last record that is in the answer. */
    private Object consumeInGroup(String[] words) {
        try (Consumer<String, String> consumer = consumer(words[1])) {
            consumer.subscribe(List.of(words[0]));
            List<Object> got = poll(consumer, Integer.parseInt(words[2]));
            long last = (Long) ((List<?>) got.get(got.size() - 1)).get(0);
            consumer.commitSync(Map.of(new TopicPartition(words[0], 0), new OffsetAndMetadata(last + 1)));
            return got;
        }
    }

    /** Lets two members share a topic, then one of them leave; the answer is how many partitions each had. */
    private Object rebalance(String[] words) {
        int partitions = Integer.parseInt(words[2]);
        try (Consumer<String, String> stays = consumer(words[1])) {
            List<Integer> shares;
            try (Consumer<String, String> leaves = consumer(words[1])) {
                stays.subscribe(List.of(words[0]));
                leaves.subscribe(List.of(words[0]));
                untilShared(List.of(stays, leaves), partitions);
                shares = new ArrayList<>(List.of(stays.assignment().size(), leaves.assignment().size()));
            }
            untilShared(List.of(stays), partitions);
            shares.add(stays.assignment().size());
            return shares;
        }
    }

    private static void untilShared(List<Consumer<String, String>> members, int partitions) {
        for (int polls = 0; polls < POLLS; polls++) {
            Set<TopicPartition> together = new HashSet<>();
            int sum = 0;
            boolean idle = false;
            for (Consumer<String, String> member : members) {
                member.poll(POLL);
                together.addAll(member.assignment());
                sum += member.assignment().size();
                idle |= member.assignment().isEmpty();
            }
            if (!idle && together.size() == partitions && sum == partitions) {
                return;
            }
        }
        throw new TimeoutException("the members did not share the topic");
    }

    private Object offsetsForTimes(String[] words) {
        TopicPartition partition = new TopicPartition(words[0], 0);
        try (Consumer<String, String> consumer = consumer(null)) {
            Map<String, Object> found = new HashMap<>();
            for (String time : List.of(words[1], words[2])) {
                var at = consumer.offsetsForTimes(Map.of(partition, Long.parseLong(time))).get(partition);
                found.put(time, at == null ? null : at.offset());
            }
            return found;
        }
    }
}
