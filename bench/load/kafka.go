package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// kafkaOptions are those of the commands that speak Kafka's protocol, to Portask or to any other broker.
type kafkaOptions struct {
	kafka      string
	partitions int
	producers  int
	consumers  int
	codec      string
	group      string
	linger     time.Duration
	idempotent bool
	keyed      bool
}

const (
	kafkaPatience = 240 * time.Second
	// So many records of one producer may wait to be sent; producing blocks beyond them.
	bufferedRecords = 100_000
	batchBytes      = 1_000_000
	// What a fetch may bring of one partition; the client's own limit would take four requests instead of one.
	fetchPartitionBytes = 4 << 20
	distinctLines       = 1 << 16
	distinctKeys        = 100_000
)

var codecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

func (o options) client(more ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(o.kafka)}, more...)...)
}

func (o options) producerClient() (*kgo.Client, error) {
	codec, found := codecs[o.codec]
	if !found {
		return nil, fmt.Errorf("no codec is called %q", o.codec)
	}
	settings := []kgo.Opt{
		kgo.DefaultProduceTopic(o.topic), kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerBatchCompression(codec),
		kgo.ProducerBatchMaxBytes(batchBytes), kgo.MaxBufferedRecords(bufferedRecords), kgo.ProducerLinger(o.linger),
	}
	if !o.idempotent {
		settings = append(settings, kgo.DisableIdempotentWrite())
	}
	return o.client(settings...)
}

// makeTopic makes the topic unless it is there, with as many partitions as asked for.
func (o options) makeTopic(ctx context.Context) error {
	client, err := o.client()
	if err != nil {
		return err
	}
	defer client.Close()
	_, err = kadm.NewClient(client).CreateTopic(ctx, int32(o.partitions), 1, nil, o.topic)
	if errors.Is(err, kerr.TopicAlreadyExists) {
		return nil
	}
	return err
}

// kafkaDelete removes the topic.
func kafkaDelete(o options) (map[string]any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), kafkaPatience)
	defer cancel()
	client, err := o.client()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	_, err = kadm.NewClient(client).DeleteTopic(ctx, o.topic)
	return map[string]any{"topic": o.topic}, err
}

// kafkaReady waits until the broker tells the end of every partition of the topic, and each holds something;
// without a topic until it answers at all. The answer is the moment, comparable with clocks of other processes.
func kafkaReady(o options) (map[string]any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(o.seconds)*time.Second)
	defer cancel()
	for attempts := 1; ; attempts++ {
		err := o.askEnds(ctx)
		if err == nil {
			return map[string]any{"at_ns": time.Now().UnixNano(), "attempts": attempts}, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("not ready after %d s: %w", o.seconds, err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// askEnds takes a client of its own, which remembers nothing of what was not ready, and tries once.
func (o options) askEnds(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	once := kgo.RetryBackoffFn(func(int) time.Duration { return time.Millisecond })
	client, err := o.client(kgo.RequestRetries(0), once)
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	if o.topic == "" {
		_, err = admin.BrokerMetadata(ctx)
		return err
	}
	listed, err := admin.ListEndOffsets(ctx, o.topic)
	if err != nil {
		return err
	}
	ends := listed[o.topic]
	if len(ends) != o.partitions {
		return fmt.Errorf("%d of %d partitions are known", len(ends), o.partitions)
	}
	for _, end := range ends {
		if end.Err != nil {
			return end.Err
		}
		if end.Offset < 1 {
			return fmt.Errorf("partition %d is empty", end.Partition)
		}
	}
	return nil
}

// logLines are log lines in JSON as services write them, part template, part random, cut at size. There are so
// many different ones that no codec sees a repeat within its window.
func logLines(size int, seed int64) [][]byte {
	source := rand.New(rand.NewSource(seed))
	lines := make([][]byte, distinctLines)
	for number := range lines {
		line := fmt.Sprintf(`{"ts":"2026-11-23T10:%02d:%02d.%03dZ","level":"%s","svc":"checkout-%d","user":%d,`+
			`"path":"/api/v1/orders/%d","ms":%d,"trace":"%016x"`,
			source.Intn(60), source.Intn(60), source.Intn(1000), levels[source.Intn(len(levels))], source.Intn(8),
			source.Intn(1_000_000), source.Intn(100_000_000), source.Intn(3000), source.Uint64())
		for len(line) < size {
			line += fmt.Sprintf(`,"item%d":{"sku":"SKU-%06d","qty":%d,"price":%d.%02d,"name":"Wireless Mouse"}`,
				source.Intn(10), source.Intn(1_000_000), source.Intn(9)+1, source.Intn(500), source.Intn(100))
		}
		lines[number] = []byte(line[:size])
	}
	return lines
}
