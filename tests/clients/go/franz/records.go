package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func init() {
	commands["produce"] = produce
	commands["consume"] = consume
	commands["group"] = consumeInGroup
	commands["sessions"] = sessions
}

// produce sends the records "value 0" and so on, and prints where each went.
func produce(ctx context.Context, client *kgo.Client) error {
	records := make([]*kgo.Record, *count)
	for i := range records {
		records[i] = &kgo.Record{
			Topic:   *topic,
			Key:     []byte("key " + strconv.Itoa(i)),
			Value:   []byte("value " + strconv.Itoa(i)),
			Headers: []kgo.RecordHeader{{Key: "number", Value: []byte(strconv.Itoa(i))}},
		}
	}
	for _, result := range client.ProduceSync(ctx, records...) {
		if result.Err != nil {
			return result.Err
		}
		emit(map[string]any{"partition": result.Record.Partition, "offset": result.Record.Offset})
	}
	return nil
}

func show(record *kgo.Record) {
	headers := map[string]string{}
	for _, header := range record.Headers {
		headers[header.Key] = string(header.Value)
	}
	emit(map[string]any{
		"partition": record.Partition, "offset": record.Offset, "key": string(record.Key),
		"value": string(record.Value), "headers": headers,
	})
}

func poll(ctx context.Context, client *kgo.Client) error {
	for left := *count; left > 0; {
		fetches := client.PollRecords(ctx, left)
		if err := fetches.Err0(); err != nil {
			return err
		}
		for _, failed := range fetches.Errors() {
			return fmt.Errorf("%s/%d: %w", failed.Topic, failed.Partition, failed.Err)
		}
		fetches.EachRecord(show)
		left -= fetches.NumRecords()
	}
	return nil
}

// consume prints records of one partition from an offset on, or of all partitions from the start.
func consume(ctx context.Context, client *kgo.Client) error {
	if *partition < 0 {
		client.AddConsumeTopics(*topic)
	} else {
		at := map[int32]kgo.Offset{int32(*partition): kgo.NewOffset().At(*offset)}
		client.AddConsumePartitions(map[string]map[int32]kgo.Offset{*topic: at})
	}
	return poll(ctx, client)
}

func groupOptions() []kgo.Opt {
	opts := []kgo.Opt{
		kgo.ConsumerGroup(*group),
		kgo.ConsumeTopics(*topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
		kgo.HeartbeatInterval(300 * time.Millisecond),
	}
	if *instance != "" {
		opts = append(opts, kgo.InstanceID(*instance))
	}
	return opts
}

// consumeInGroup prints records that the group has not read yet, commits behind the last and leaves.
func consumeInGroup(ctx context.Context, client *kgo.Client) error {
	if err := poll(ctx, client); err != nil {
		return err
	}
	if err := client.CommitUncommittedOffsets(ctx); err != nil {
		return err
	}
	id, generation := client.GroupMetadata()
	emit(map[string]any{"member": id, "generation": generation})
	return client.LeaveGroupContext(ctx)
}

// sessions walks a fetch session: opened with every partition, then asked for changes only.
func sessions(ctx context.Context, client *kgo.Client) error {
	metadata := kmsg.NewPtrMetadataRequest()
	wanted := kmsg.NewMetadataRequestTopic()
	wanted.Topic = topic
	metadata.Topics = append(metadata.Topics, wanted)
	described, err := metadata.RequestWith(ctx, client)
	if err != nil {
		return err
	}
	id := described.Topics[0].TopicID
	broker := client.Broker(int(described.Brokers[0].NodeID))

	var session int32
	fetch := func(epoch int32, from map[int32]int64, forget ...int32) error {
		request := kmsg.NewPtrFetchRequest()
		request.ReplicaID = -1
		request.MaxWaitMillis = 100
		request.MaxBytes = 1 << 20
		request.SessionID, request.SessionEpoch = session, epoch
		if len(from) > 0 {
			fetched := kmsg.NewFetchRequestTopic()
			fetched.Topic, fetched.TopicID = *topic, id
			for number, at := range from {
				part := kmsg.NewFetchRequestTopicPartition()
				part.Partition, part.FetchOffset, part.PartitionMaxBytes = number, at, 1<<20
				fetched.Partitions = append(fetched.Partitions, part)
			}
			request.Topics = append(request.Topics, fetched)
		}
		if len(forget) > 0 {
			forgotten := kmsg.NewFetchRequestForgottenTopic()
			forgotten.Topic, forgotten.TopicID, forgotten.Partitions = *topic, id, forget
			request.ForgottenTopics = append(request.ForgottenTopics, forgotten)
		}
		answer, err := broker.Request(ctx, request)
		if err != nil {
			return err
		}
		response := answer.(*kmsg.FetchResponse)
		numbers := []int32{}
		for _, answered := range response.Topics {
			for _, part := range answered.Partitions {
				numbers = append(numbers, part.Partition)
			}
		}
		emit(map[string]any{
			"version": response.Version, "error": response.ErrorCode, "session": response.SessionID != 0,
			"same": response.SessionID == session, "partitions": numbers,
		})
		if session == 0 {
			session = response.SessionID
		}
		return nil
	}
	write := func(number int32, text string) error {
		// This client's partitioner is not asked: the record names its partition.
		producer, err := kgo.NewClient(append(options(), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
		if err != nil {
			return err
		}
		defer producer.Close()
		return producer.ProduceSync(ctx, &kgo.Record{Topic: *topic, Partition: number, Value: []byte(text)}).FirstErr()
	}

	steps := []func() error{
		func() error { return fetch(0, map[int32]int64{0: 0, 1: 0, 2: 0}) },
		func() error { return fetch(1, nil) },
		func() error { return write(1, "one") },
		func() error { return fetch(2, nil) },
		func() error { return fetch(3, map[int32]int64{1: 1}) },
		func() error { return write(2, "two") },
		func() error { return fetch(4, nil, 2) },
		func() error { return fetch(9, nil) },
		func() error { session++; return fetch(1, nil) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}
