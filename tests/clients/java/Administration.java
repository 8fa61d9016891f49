import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.DescribeClusterResult;
import org.apache.kafka.clients.admin.FeatureMetadata;
import org.apache.kafka.clients.admin.ListOffsetsResult.ListOffsetsResultInfo;
import org.apache.kafka.clients.admin.LogDirDescription;
import org.apache.kafka.clients.admin.NewPartitionReassignment;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.QuorumInfo;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicCollection;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.config.ConfigResource;

/** The commands of the admin client. Where a partition is meant and none is named, it is partition 0. */
final class Administration {
    private final Admin admin;

    Administration(Admin admin) {
        this.admin = admin;
    }

    void addTo(Map<String, Client.Command> commands) {
        commands.put("cluster", words -> cluster());
        commands.put("create", this::create);
        commands.put("topics", words -> admin.listTopics().names().get());
        commands.put("describe", this::describe);
        commands.put("describe-by-id", this::describeById);
        commands.put("delete", words -> admin.deleteTopics(List.of(words[0])).all().get());
        commands.put("delete-by-id", this::deleteById);
        commands.put("add-partitions", this::addPartitions);
        commands.put("delete-records", this::deleteRecords);
        commands.put("configs", words -> configs(new ConfigResource(ConfigResource.Type.TOPIC, words[0])));
        commands.put("broker-configs", words -> configs(new ConfigResource(ConfigResource.Type.BROKER, words[0])));
        commands.put("alter-config", this::alterConfig);
        commands.put("config-resources", words -> configResources());
        commands.put("offsets", this::offsets);
        commands.put("log-dirs", this::logDirs);
        commands.put("producers", this::producers);
        commands.put("groups", words -> groups());
        commands.put("describe-group", this::describeGroup);
        commands.put("delete-group", words -> admin.deleteConsumerGroups(List.of(words[0])).all().get());
        commands.put("alter-group-offset", this::alterGroupOffset);
        commands.put("delete-group-offset", this::deleteGroupOffset);
        commands.put("group-offsets", this::groupOffsets);
        commands.put("elect", this::elect);
        commands.put("reassign", this::reassign);
        commands.put("reassignments", words -> admin.listPartitionReassignments().reassignments().get().size());
        commands.put("quorum", words -> quorum());
        commands.put("features", words -> features());
    }

    private static TopicPartition first(String topic) {
        return new TopicPartition(topic, 0);
    }

    private static List<Integer> ids(Collection<Node> nodes) {
        return nodes.stream().map(Node::id).toList();
    }

    private Object cluster() throws Exception {
        DescribeClusterResult cluster = admin.describeCluster();
        Node node = cluster.nodes().get().iterator().next();
        return Map.of(
            "id", cluster.clusterId().get(),
            "nodes", ids(cluster.nodes().get()),
            "address", node.host() + ":" + node.port(),
            "controller", cluster.controller().get().id());
    }

    private Object create(String[] words) throws Exception {
        NewTopic topic = new NewTopic(words[0], Integer.parseInt(words[1]), (short) 1);
        if (words.length > 2) {
            topic.configs(Map.of(words[2], words[3]));
        }
        var made = admin.createTopics(List.of(topic));
        return Map.of(
            "id", made.topicId(words[0]).get().toString(),
            "partitions", made.numPartitions(words[0]).get(),
            "replicas", made.replicationFactor(words[0]).get(),
            "configs", made.config(words[0]).get().entries().size());
    }

    private static Object described(TopicDescription topic) {
        return Map.of(
            "name", topic.name(),
            "id", topic.topicId().toString(),
            "internal", topic.isInternal(),
            "leaders", topic.partitions().stream().map(partition -> partition.leader().id()).toList(),
            "isr", topic.partitions().stream().map(partition -> ids(partition.isr())).toList());
    }

    private Object describe(String[] words) throws Exception {
        return described(admin.describeTopics(List.of(words[0])).allTopicNames().get().get(words[0]));
    }

    private Object describeById(String[] words) throws Exception {
        Uuid id = Uuid.fromString(words[0]);
        return described(admin.describeTopics(TopicCollection.ofTopicIds(List.of(id))).allTopicIds().get().get(id));
    }

    private Object deleteById(String[] words) throws Exception {
        return admin.deleteTopics(TopicCollection.ofTopicIds(List.of(Uuid.fromString(words[0])))).all().get();
    }

    private Object addPartitions(String[] words) throws Exception {
        return admin.createPartitions(Map.of(words[0], NewPartitions.increaseTo(Integer.parseInt(words[1])))).all().get();
    }

    private Object deleteRecords(String[] words) throws Exception {
        TopicPartition partition = first(words[0]);
        RecordsToDelete before = RecordsToDelete.beforeOffset(Long.parseLong(words[1]));
        return admin.deleteRecords(Map.of(partition, before)).lowWatermarks().get(partition).get().lowWatermark();
    }

    private Object configs(ConfigResource resource) throws Exception {
        Map<String, Object> found = new TreeMap<>();
        for (ConfigEntry entry : admin.describeConfigs(List.of(resource)).all().get().get(resource).entries()) {
            found.put(entry.name(), List.of(String.valueOf(entry.value()), entry.source().name(), entry.type().name()));
        }
        return found;
    }

    private Object alterConfig(String[] words) throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, words[0]);
        AlterConfigOp change =
            new AlterConfigOp(new ConfigEntry(words[2], words[3]), AlterConfigOp.OpType.valueOf(words[1]));
        return admin.incrementalAlterConfigs(Map.of(resource, List.of(change))).all().get();
    }

    private Object configResources() throws Exception {
        return admin.listConfigResources().all().get().stream()
            .map(resource -> List.of(resource.type().name(), resource.name()))
            .toList();
    }

    private Object offsets(String[] words) throws Exception {
        Map<String, Object> found = new TreeMap<>();
        Map<String, OffsetSpec> wanted = Map.of(
            "earliest", OffsetSpec.earliest(),
            "latest", OffsetSpec.latest(),
            "max timestamp", OffsetSpec.maxTimestamp(),
            "local", OffsetSpec.earliestLocal(),
            "at time", OffsetSpec.forTimestamp(words.length > 1 ? Long.parseLong(words[1]) : 0));
        for (Map.Entry<String, OffsetSpec> spec : wanted.entrySet()) {
            ListOffsetsResultInfo info =
                admin.listOffsets(Map.of(first(words[0]), spec.getValue())).partitionResult(first(words[0])).get();
            found.put(spec.getKey(), info.offset());
        }
        return found;
    }

    private Object logDirs(String[] words) throws Exception {
        List<Object> sizes = new ArrayList<>();
        List<Integer> brokers = ids(admin.describeCluster().nodes().get());
        for (Map<String, LogDirDescription> dirs : admin.describeLogDirs(brokers).allDescriptions().get().values()) {
            for (LogDirDescription dir : dirs.values()) {
                if (dir.replicaInfos().containsKey(first(words[0]))) {
                    sizes.add(dir.replicaInfos().get(first(words[0])).size());
                }
            }
        }
        return sizes;
    }

    private Object producers(String[] words) throws Exception {
        return admin.describeProducers(List.of(first(words[0]))).partitionResult(first(words[0])).get().activeProducers()
            .stream()
            .map(state -> Map.of("epoch", state.producerEpoch(), "last sequence", state.lastSequence()))
            .toList();
    }

    private Object groups() throws Exception {
        Map<String, Object> found = new TreeMap<>();
        for (var group : admin.listGroups().all().get()) {
            found.put(group.groupId(), List.of(
                group.groupState().map(Enum::name).orElse(""), group.type().map(Enum::name).orElse(""), group.protocol()));
        }
        return found;
    }

    private Object describeGroup(String[] words) throws Exception {
        var group = admin.describeConsumerGroups(List.of(words[0])).describedGroups().get(words[0]).get();
        return Map.of(
            "state", group.groupState().name(),
            "members", group.members().size(),
            "type", group.type().name(),
            "coordinator", group.coordinator().id());
    }

    private Object alterGroupOffset(String[] words) throws Exception {
        OffsetAndMetadata at = new OffsetAndMetadata(Long.parseLong(words[2]), "by hand");
        return admin.alterConsumerGroupOffsets(words[0], Map.of(first(words[1]), at)).all().get();
    }

    private Object deleteGroupOffset(String[] words) throws Exception {
        return admin.deleteConsumerGroupOffsets(words[0], Set.of(first(words[1]))).all().get();
    }

    private Object groupOffsets(String[] words) throws Exception {
        Map<String, Object> found = new TreeMap<>();
        admin.listConsumerGroupOffsets(words[0]).partitionsToOffsetAndMetadata().get()
            .forEach((partition, at) -> found.put(partition.toString(), List.of(at.offset(), at.metadata())));
        return found;
    }

    private Object elect(String[] words) throws Exception {
        var failure = admin.electLeaders(ElectionType.valueOf(words[1]), Set.of(first(words[0]))).partitions().get();
        return failure.get(first(words[0])).map(error -> error.getClass().getSimpleName()).orElse("");
    }

    private Object reassign(String[] words) throws Exception {
        var target = new NewPartitionReassignment(List.of(Integer.parseInt(words[1])));
        return admin.alterPartitionReassignments(Map.of(first(words[0]), Optional.of(target))).all().get();
    }

    private Object quorum() throws Exception {
        QuorumInfo quorum = admin.describeMetadataQuorum().quorumInfo().get();
        return Map.of(
            "leader", quorum.leaderId(),
            "voters", quorum.voters().stream().map(QuorumInfo.ReplicaState::replicaId).toList());
    }

    private Object features() throws Exception {
        FeatureMetadata features = admin.describeFeatures().featureMetadata().get();
        return Map.of(
            "finalized", new TreeMap<>(features.finalizedFeatures()).keySet(),
            "supported", new TreeMap<>(features.supportedFeatures()).keySet());
    }
}
