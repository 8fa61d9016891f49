package main

import (
	"context"
	"errors"
	"io"
	"slices"

	"github.com/segmentio/kafka-go"
)

func init() {
	commands["committed"] = committed
	for name, run := range map[string]func(*kafka.Conn) error{
		"create": create, "delete": remove, "topic": describe, "cluster": cluster, "versions": versions,
		"offsets": offsets, "conn-write": connWrite, "conn-read": connRead,
	} {
		onConn[name] = run
	}
}

// create and remove take the name from -group: with -topic the connection would look for its leader first.
func create(conn *kafka.Conn) error {
	return conn.CreateTopics(kafka.TopicConfig{Topic: *group, NumPartitions: *partitions, ReplicationFactor: 1})
}

func remove(conn *kafka.Conn) error {
	return conn.DeleteTopics(*group)
}

func describe(conn *kafka.Conn) error {
	parts, err := conn.ReadPartitions(*topic)
	if err != nil {
		return err
	}
	slices.SortFunc(parts, func(a, b kafka.Partition) int { return a.ID - b.ID })
	for _, part := range parts {
		emit(map[string]any{"partition": part.ID, "leader": part.Leader.ID, "replicas": len(part.Replicas)})
	}
	return nil
}

func cluster(conn *kafka.Conn) error {
	controller, err := conn.Controller()
	if err != nil {
		return err
	}
	brokers, err := conn.Brokers()
	if err != nil {
		return err
	}
	emit(map[string]any{"controller": controller.ID, "brokers": len(brokers), "port": brokers[0].Port})
	return nil
}

func versions(conn *kafka.Conn) error {
	found, err := conn.ApiVersions()
	for _, key := range found {
		emit(map[string]any{"key": key.ApiKey, "min": key.MinVersion, "max": key.MaxVersion})
	}
	return err
}

func offsets(conn *kafka.Conn) error {
	first, last, err := conn.ReadOffsets()
	if err != nil {
		return err
	}
	emit(map[string]any{"start": first, "end": last})
	return nil
}

func connWrite(conn *kafka.Conn) error {
	var written int
	var err error
	if *codec == "none" {
		written, err = conn.WriteMessages(messages()...)
	} else {
		written, err = conn.WriteCompressedMessages(compression().Codec(), messages()...)
	}
	if err != nil {
		return err
	}
	emit(map[string]any{"bytes": written > 0})
	return nil
}

// connRead prints records of the connection's partition from an offset on, one fetch after the other.
func connRead(conn *kafka.Conn) error {
	if _, err := conn.Seek(*offset, kafka.SeekAbsolute); err != nil {
		return err
	}
	for left := *count; left > 0; {
		batch := conn.ReadBatch(1, 1<<20)
		for left > 0 {
			got, err := batch.ReadMessage()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return err
			}
			show(got)
			left--
		}
		if err := batch.Close(); err != nil {
			return err
		}
	}
	return nil
}

func committed(ctx context.Context) error {
	client := &kafka.Client{Addr: kafka.TCP(*bootstrap)}
	found, err := client.OffsetFetch(ctx, &kafka.OffsetFetchRequest{
		GroupID: *group, Topics: map[string][]int{*topic: {*partition}},
	})
	if err != nil {
		return err
	}
	for _, at := range found.Topics[*topic] {
		emit(map[string]any{"partition": at.Partition, "offset": at.CommittedOffset})
	}
	return found.Error
}
