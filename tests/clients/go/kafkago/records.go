package main

import (
	"context"
	"strconv"
	"time"

	"github.com/segmentio/kafka-go"
)

func init() {
	commands["write"] = write
	commands["read"] = read
	commands["group"] = readInGroup
}

func messages() []kafka.Message {
	all := make([]kafka.Message, *count)
	for i := range all {
		all[i] = kafka.Message{
			Key:     []byte("key " + strconv.Itoa(i)),
			Value:   []byte("value " + strconv.Itoa(i)),
			Headers: []kafka.Header{{Key: "number", Value: []byte(strconv.Itoa(i))}},
		}
	}
	return all
}

// write sends the records "value 0" and so on and prints where each went.
func write(ctx context.Context) error {
	writer := &kafka.Writer{
		Addr:         kafka.TCP(*bootstrap),
		Topic:        *topic,
		RequiredAcks: kafka.RequireAll,
		Compression:  compression(),
		BatchTimeout: time.Millisecond,
		Completion: func(sent []kafka.Message, err error) {
			for _, message := range sent {
				emit(map[string]any{"partition": message.Partition, "offset": message.Offset})
			}
		},
	}
	if err := writer.WriteMessages(ctx, messages()...); err != nil {
		return err
	}
	return writer.Close()
}

func show(got kafka.Message) {
	headers := map[string]string{}
	for _, header := range got.Headers {
		headers[header.Key] = string(header.Value)
	}
	emit(map[string]any{
		"partition": got.Partition, "offset": got.Offset, "key": string(got.Key), "value": string(got.Value),
		"headers": headers,
	})
}

// read prints records of one partition from an offset on, and how far behind the end that is.
func read(ctx context.Context) error {
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{*bootstrap}, Topic: *topic, Partition: *partition, MaxWait: 200 * time.Millisecond,
	})
	if err := reader.SetOffset(*offset); err != nil {
		return err
	}
	for range *count {
		got, err := reader.ReadMessage(ctx)
		if err != nil {
			return err
		}
		show(got)
	}
	lag, err := reader.ReadLag(ctx)
	if err != nil {
		return err
	}
	emit(map[string]any{"lag": lag})
	return reader.Close()
}

// readInGroup prints records that the group has not read yet, commits behind them and leaves.
func readInGroup(ctx context.Context) error {
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{*bootstrap}, Topic: *topic, GroupID: *group, StartOffset: kafka.FirstOffset,
		MaxWait: 200 * time.Millisecond,
	})
	for range *count {
		got, err := reader.FetchMessage(ctx)
		if err != nil {
			return err
		}
		show(got)
		if err := reader.CommitMessages(ctx, got); err != nil {
			return err
		}
	}
	return reader.Close()
}
