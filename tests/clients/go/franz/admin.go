package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func init() {
	commands["versions"] = versions
	for name, run := range map[string]func(context.Context, *kadm.Client) error{
		"create": create, "describe": describe, "topics": topics, "delete": remove, "add-partitions": addPartitions,
		"configs": configs, "alter-config": alterConfig, "broker-configs": brokerConfigs,
		"offsets": offsets, "offset-at": offsetAt, "delete-records": deleteRecords,
		"commit": commit, "committed": committed, "groups": groups, "describe-group": describeGroup,
		"delete-group": deleteGroup, "delete-offsets": deleteOffsets, "cluster": cluster, "log-dirs": logDirs,
		"epoch-end": epochEnd,
	} {
		adminOnly[name] = run
	}
}

// versions prints what ApiVersions tells.
func versions(ctx context.Context, client *kgo.Client) error {
	answer, err := kmsg.NewPtrApiVersionsRequest().RequestWith(ctx, client)
	if err != nil {
		return err
	}
	for _, key := range answer.ApiKeys {
		emit(map[string]any{"key": key.ApiKey, "min": key.MinVersion, "max": key.MaxVersion})
	}
	return nil
}

func create(ctx context.Context, admin *kadm.Client) error {
	settings := map[string]*string{}
	if *name != "" {
		settings[*name] = value
	}
	made, err := admin.CreateTopic(ctx, int32(*partitions), -1, settings, *topic)
	if err != nil {
		return err
	}
	emit(map[string]any{
		"id": made.ID.String(), "partitions": made.NumPartitions, "replicas": made.ReplicationFactor,
		"configs": len(made.Configs),
	})
	return nil
}

func describe(ctx context.Context, admin *kadm.Client) error {
	details, err := admin.ListTopics(ctx, *topic)
	if err != nil {
		return err
	}
	detail := details[*topic]
	if detail.Err != nil {
		return detail.Err
	}
	for _, part := range detail.Partitions.Sorted() {
		emit(map[string]any{
			"id": detail.ID.String(), "partition": part.Partition, "leader": part.Leader, "replicas": part.Replicas,
			"isr": part.ISR,
		})
	}
	return nil
}

func topics(ctx context.Context, admin *kadm.Client) error {
	details, err := admin.ListTopics(ctx)
	if err != nil {
		return err
	}
	for _, topic := range details.Names() {
		emit(map[string]any{"topic": topic})
	}
	return nil
}

func remove(ctx context.Context, admin *kadm.Client) error {
	_, err := admin.DeleteTopic(ctx, *topic)
	return err
}

func addPartitions(ctx context.Context, admin *kadm.Client) error {
	answers, err := admin.UpdatePartitions(ctx, *partitions, *topic)
	if err != nil {
		return err
	}
	return answers.Error()
}

func showConfigs(found kadm.ResourceConfigs, err error) error {
	if err != nil {
		return err
	}
	for _, resource := range found {
		if resource.Err != nil {
			return resource.Err
		}
		for _, config := range resource.Configs {
			if *name == "" || config.Key == *name {
				emit(map[string]any{
					"name": config.Key, "value": config.MaybeValue(), "source": config.Source.String(),
					"sensitive": config.Sensitive,
				})
			}
		}
	}
	return nil
}

func configs(ctx context.Context, admin *kadm.Client) error {
	return showConfigs(admin.DescribeTopicConfigs(ctx, *topic))
}

func brokerConfigs(ctx context.Context, admin *kadm.Client) error {
	brokers, err := admin.ListBrokers(ctx)
	if err != nil {
		return err
	}
	return showConfigs(admin.DescribeBrokerConfigs(ctx, brokers.NodeIDs()...))
}

// alterConfig sets a config, or takes it back where the value is empty.
func alterConfig(ctx context.Context, admin *kadm.Client) error {
	change := kadm.AlterConfig{Op: kadm.SetConfig, Name: *name, Value: value}
	if *value == "" {
		change.Op = kadm.DeleteConfig
	}
	answers, err := admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{change}, *topic)
	if err != nil {
		return err
	}
	for _, answer := range answers {
		if answer.Err != nil {
			return fmt.Errorf("%w: %s", answer.Err, answer.ErrMessage)
		}
	}
	return nil
}

func offsets(ctx context.Context, admin *kadm.Client) error {
	starts, err := admin.ListStartOffsets(ctx, *topic)
	if err != nil {
		return err
	}
	ends, err := admin.ListEndOffsets(ctx, *topic)
	if err != nil {
		return err
	}
	var failed error
	parts := []int{}
	ends.Each(func(end kadm.ListedOffset) {
		failed = end.Err
		parts = append(parts, int(end.Partition))
	})
	slices.Sort(parts)
	for _, number := range parts {
		start, _ := starts.Lookup(*topic, int32(number))
		end, _ := ends.Lookup(*topic, int32(number))
		emit(map[string]any{"partition": number, "start": start.Offset, "end": end.Offset, "epoch": end.LeaderEpoch})
	}
	return failed
}

func offsetAt(ctx context.Context, admin *kadm.Client) error {
	found, err := admin.ListOffsetsAfterMilli(ctx, *millis, *topic)
	if err != nil {
		return err
	}
	at, _ := found.Lookup(*topic, int32(*partition))
	emit(map[string]any{"offset": at.Offset, "timestamp": at.Timestamp})
	return at.Err
}

func deleteRecords(ctx context.Context, admin *kadm.Client) error {
	before := kadm.Offsets{}
	before.AddOffset(*topic, int32(*partition), *offset, -1)
	answers, err := admin.DeleteRecords(ctx, before)
	if err != nil {
		return err
	}
	answer, _ := answers.Lookup(*topic, int32(*partition))
	emit(map[string]any{"start": answer.LowWatermark})
	return answer.Err
}

func commit(ctx context.Context, admin *kadm.Client) error {
	wanted := kadm.Offsets{}
	wanted.Add(kadm.Offset{Topic: *topic, Partition: int32(*partition), At: *offset, LeaderEpoch: 0, Metadata: *value})
	return admin.CommitAllOffsets(ctx, *group, wanted)
}

func committed(ctx context.Context, admin *kadm.Client) error {
	found, err := admin.FetchOffsets(ctx, *group)
	if err != nil {
		return err
	}
	for _, at := range found.Sorted() {
		emit(map[string]any{
			"topic": at.Topic, "partition": at.Partition, "offset": at.At, "metadata": at.Metadata, "epoch": at.LeaderEpoch,
		})
	}
	return found.Error()
}

func groups(ctx context.Context, admin *kadm.Client) error {
	found, err := admin.ListGroups(ctx)
	if err != nil {
		return err
	}
	for _, listed := range found.Sorted() {
		emit(map[string]any{"group": listed.Group, "state": listed.State, "protocol": listed.ProtocolType})
	}
	return nil
}

func describeGroup(ctx context.Context, admin *kadm.Client) error {
	found, err := admin.DescribeGroups(ctx, *group)
	if err != nil {
		return err
	}
	described := found[*group]
	emit(map[string]any{"state": described.State, "members": len(described.Members)})
	return described.Err
}

func deleteGroup(ctx context.Context, admin *kadm.Client) error {
	_, err := admin.DeleteGroup(ctx, *group)
	return err
}

func deleteOffsets(ctx context.Context, admin *kadm.Client) error {
	gone := kadm.TopicsSet{}
	gone.Add(*topic, int32(*partition))
	answers, err := admin.DeleteOffsets(ctx, *group, gone)
	if err != nil {
		return err
	}
	return answers.Error()
}

func cluster(ctx context.Context, admin *kadm.Client) error {
	metadata, err := admin.BrokerMetadata(ctx)
	if err != nil {
		return err
	}
	emit(map[string]any{
		"cluster": metadata.Cluster, "controller": metadata.Controller, "brokers": metadata.Brokers.NodeIDs(),
		"address": fmt.Sprintf("%s:%d", metadata.Brokers[0].Host, metadata.Brokers[0].Port),
	})
	return nil
}

func logDirs(ctx context.Context, admin *kadm.Client) error {
	wanted := kadm.TopicsSet{}
	wanted.Add(*topic, int32(*partition))
	found, err := admin.DescribeAllLogDirs(ctx, wanted)
	if err != nil {
		return err
	}
	var failed error
	found.Each(func(dir kadm.DescribedLogDir) {
		failed = dir.Err
		dir.Topics.Each(func(part kadm.DescribedLogDirPartition) {
			emit(map[string]any{"topic": part.Topic, "partition": part.Partition, "size": part.Size})
		})
	})
	return failed
}

func epochEnd(ctx context.Context, admin *kadm.Client) error {
	request := kadm.OffsetForLeaderEpochRequest{}
	request.Add(*topic, int32(*partition), 0)
	answers, err := admin.OffsetForLeaderEpoch(ctx, request)
	if err != nil {
		return err
	}
	answer := answers[*topic][int32(*partition)]
	emit(map[string]any{"epoch": answer.LeaderEpoch, "end": answer.EndOffset})
	return answer.Err
}
