package main

import (
	"context"
	"encoding/binary"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A timed record begins with the moment from which its latency counts, in nanoseconds.
const stampBytes = 8

// kafkaProducer is one client that produces log lines.
type kafkaProducer struct {
	client *kgo.Client
	lines  [][]byte
	keyed  bool
	failed error
	once   sync.Once
}

func newKafkaProducers(ctx context.Context, o options) ([]*kafkaProducer, error) {
	lines := logLines(o.size, o.seed)
	made := make([]*kafkaProducer, o.producers)
	for number := range made {
		client, err := o.producerClient()
		if err == nil {
			err = client.Ping(ctx)
		}
		if err != nil {
			return nil, err
		}
		made[number] = &kafkaProducer{client: client, lines: lines, keyed: o.keyed}
	}
	return made, nil
}

func closeProducers(producers []*kafkaProducer) {
	for _, one := range producers {
		one.client.Close()
	}
}

// produce hands over the line of that number; one that is stamped is a copy.
func (p *kafkaProducer) produce(ctx context.Context, number int, stamp time.Time, confirmed func()) {
	record := &kgo.Record{Value: p.lines[number%len(p.lines)]}
	if !stamp.IsZero() {
		record.Value = append([]byte(nil), record.Value...)
		binary.BigEndian.PutUint64(record.Value, uint64(stamp.UnixNano()))
	}
	if p.keyed {
		// A multiplicative hash, so that neighbours are far apart.
		record.Key = strconv.AppendUint(nil, uint64(number)*0x9E3779B1%distinctKeys, 10)
	}
	p.client.Produce(ctx, record, func(_ *kgo.Record, err error) {
		if err != nil {
			p.once.Do(func() { p.failed = err })
		} else if confirmed != nil {
			confirmed()
		}
	})
}

// finish waits until all is confirmed.
func (p *kafkaProducer) finish(ctx context.Context) error {
	if err := p.client.Flush(ctx); err != nil {
		return err
	}
	return p.failed
}

// flatOut are tasks that produce all messages, each producer its share.
func flatOut(ctx context.Context, producers []*kafkaProducer, messages int, stamped bool) []func() error {
	tasks := make([]func() error, len(producers))
	for index, one := range producers {
		tasks[index] = func() error {
			stamp := time.Time{}
			for number := index; number < messages; number += len(producers) {
				if stamped {
					stamp = time.Now()
				}
				one.produce(ctx, number, stamp, nil)
			}
			return one.finish(ctx)
		}
	}
	return tasks
}

func kafkaProduce(o options) (map[string]any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), kafkaPatience)
	defer cancel()
	if err := o.makeTopic(ctx); err != nil {
		return nil, err
	}
	producers, err := newKafkaProducers(ctx, o)
	if err != nil {
		return nil, err
	}
	defer closeProducers(producers)
	result, err := measure(o, o.messages, flatOut(ctx, producers, o.messages, false)...)
	return addKafka(result, o), err
}

func addKafka(result map[string]any, o options) map[string]any {
	if result != nil {
		result["partitions"], result["producers"], result["consumers"] = o.partitions, o.producers, o.consumers
		result["codec"], result["idempotent"], result["keyed"] = o.codec, o.idempotent, o.keyed
		result["linger_ms"] = float64(o.linger.Microseconds()) / 1000
	}
	return result
}
