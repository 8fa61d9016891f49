package main

import (
	"fmt"
	"slices"

	"github.com/IBM/sarama"
)

func init() {
	for name, run := range map[string]func(sarama.ClusterAdmin) error{
		"create": create, "describe": describe, "topics": topics, "delete": remove, "add-partitions": addPartitions,
		"configs": configs, "alter-config": alterConfig, "replace-configs": replaceConfigs,
		"delete-records": deleteRecords, "committed": committed, "groups": groups, "describe-group": describeGroup,
		"delete-offset": deleteOffset, "delete-group": deleteGroup, "cluster": cluster, "log-dirs": logDirs,
		"reassignments": reassignments,
	} {
		adminOnly[name] = run
	}
}

func create(admin sarama.ClusterAdmin) error {
	detail := &sarama.TopicDetail{NumPartitions: int32(*partitions), ReplicationFactor: 1}
	if *name != "" {
		detail.ConfigEntries = map[string]*string{*name: value}
	}
	return admin.CreateTopic(*topic, detail, false)
}

func describe(admin sarama.ClusterAdmin) error {
	described, err := admin.DescribeTopics([]string{*topic})
	if err != nil {
		return err
	}
	if described[0].Err != sarama.ErrNoError {
		return described[0].Err
	}
	parts := described[0].Partitions
	slices.SortFunc(parts, func(a, b *sarama.PartitionMetadata) int { return int(a.ID - b.ID) })
	for _, part := range parts {
		emit(map[string]any{"partition": part.ID, "leader": part.Leader, "replicas": part.Replicas, "isr": part.Isr})
	}
	return nil
}

func topics(admin sarama.ClusterAdmin) error {
	found, err := admin.ListTopics()
	for topic, detail := range found {
		emit(map[string]any{"topic": topic, "partitions": detail.NumPartitions})
	}
	return err
}

func remove(admin sarama.ClusterAdmin) error {
	return admin.DeleteTopic(*topic)
}

func addPartitions(admin sarama.ClusterAdmin) error {
	return admin.CreatePartitions(*topic, int32(*partitions), nil, false)
}

func configs(admin sarama.ClusterAdmin) error {
	resource := sarama.ConfigResource{Type: sarama.TopicResource, Name: *topic}
	if *name != "" {
		resource.ConfigNames = []string{*name}
	}
	found, err := admin.DescribeConfig(resource)
	for _, config := range found {
		emit(map[string]any{"name": config.Name, "value": config.Value, "source": config.Source.String()})
	}
	return err
}

// alterConfig changes one config and leaves the others as they are.
func alterConfig(admin sarama.ClusterAdmin) error {
	entry := sarama.IncrementalAlterConfigsEntry{Operation: sarama.IncrementalAlterConfigsOperationSet, Value: value}
	return admin.IncrementalAlterConfig(
		sarama.TopicResource, *topic, map[string]sarama.IncrementalAlterConfigsEntry{*name: entry}, false)
}

// replaceConfigs sets one config and takes all others back to their defaults.
func replaceConfigs(admin sarama.ClusterAdmin) error {
	return admin.AlterConfig(sarama.TopicResource, *topic, map[string]*string{*name: value}, false)
}

func deleteRecords(admin sarama.ClusterAdmin) error {
	return admin.DeleteRecords(*topic, map[int32]int64{int32(*partition): *offset})
}

func committed(admin sarama.ClusterAdmin) error {
	found, err := admin.ListConsumerGroupOffsets(*group, nil)
	if err != nil {
		return err
	}
	for topic, parts := range found.Blocks {
		for number, block := range parts {
			emit(map[string]any{"topic": topic, "partition": number, "offset": block.Offset})
		}
	}
	return nil
}

func groups(admin sarama.ClusterAdmin) error {
	found, err := admin.ListConsumerGroups()
	for group, protocol := range found {
		emit(map[string]any{"group": group, "protocol": protocol})
	}
	return err
}

func describeGroup(admin sarama.ClusterAdmin) error {
	found, err := admin.DescribeConsumerGroups([]string{*group})
	if err != nil {
		return err
	}
	if found[0].Err != sarama.ErrNoError {
		return found[0].Err
	}
	emit(map[string]any{"state": found[0].State, "members": len(found[0].Members)})
	return nil
}

func deleteOffset(admin sarama.ClusterAdmin) error {
	return admin.DeleteConsumerGroupOffset(*group, *topic, int32(*partition))
}

func deleteGroup(admin sarama.ClusterAdmin) error {
	return admin.DeleteConsumerGroup(*group)
}

func cluster(admin sarama.ClusterAdmin) error {
	brokers, controller, err := admin.DescribeCluster()
	if err != nil {
		return err
	}
	emit(map[string]any{"brokers": len(brokers), "address": brokers[0].Addr(), "controller": controller})
	return nil
}

func logDirs(admin sarama.ClusterAdmin) error {
	brokers, _, err := admin.DescribeCluster()
	if err != nil {
		return err
	}
	found, err := admin.DescribeLogDirs([]int32{brokers[0].ID()})
	if err != nil {
		return err
	}
	for _, dirs := range found {
		for _, dir := range dirs {
			if dir.ErrorCode != sarama.ErrNoError {
				return fmt.Errorf("%s: %w", dir.Path, dir.ErrorCode)
			}
			for _, listed := range dir.Topics {
				for _, part := range listed.Partitions {
					emit(map[string]any{"topic": listed.Topic, "partition": part.PartitionID, "size": part.Size})
				}
			}
		}
	}
	return nil
}

func reassignments(admin sarama.ClusterAdmin) error {
	found, err := admin.ListPartitionReassignments(*topic, []int32{int32(*partition)})
	emit(map[string]any{"under way": len(found)})
	return err
}
