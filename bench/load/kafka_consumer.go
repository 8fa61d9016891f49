package main

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// kafkaConsumers take records from the start of the topic until all have come, one alone or several as a group.
type kafkaConsumers struct {
	clients  []*kgo.Client
	polling  context.Context
	stop     context.CancelFunc
	assigned []atomic.Int64 // partitions of each member
	changes  atomic.Int64   // of assignments
	taken    [][]taken      // by each client, when records are timed
	messages int64
	size     int
	received atomic.Int64 // without those that came again
	timed    bool

	lock        sync.Mutex // of what follows
	next        []int64    // offset that is expected of each partition
	redelivered int
}

// A group is taken to have settled when no member's partitions have changed for so long.
const calm = 500 * time.Millisecond

type taken struct {
	stamp int64
	at    int64
}

func newKafkaConsumers(ctx context.Context, o options, messages int, timed bool) (*kafkaConsumers, error) {
	if o.group == "" && o.consumers > 1 {
		return nil, fmt.Errorf("%d consumers share the messages only in a group", o.consumers)
	}
	c := &kafkaConsumers{
		clients: make([]*kgo.Client, o.consumers), assigned: make([]atomic.Int64, o.consumers),
		taken: make([][]taken, o.consumers), messages: int64(messages), size: o.size,
		timed: timed, next: make([]int64, o.partitions),
	}
	c.polling, c.stop = context.WithCancel(ctx)
	for number := range c.clients {
		settings := []kgo.Opt{
			kgo.ConsumeTopics(o.topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
			kgo.FetchMaxPartitionBytes(fetchPartitionBytes), kgo.FetchMaxWait(500 * time.Millisecond),
		}
		if o.group != "" {
			settings = append(settings, c.membership(o.group, number)...)
		}
		client, err := o.client(settings...)
		if err != nil {
			return nil, err
		}
		c.clients[number] = client
	}
	return c, nil
}

// membership counts what the member is given.
func (c *kafkaConsumers) membership(group string, number int) []kgo.Opt {
	count := func(sign int64) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, changed map[string][]int32) {
			c.changes.Add(1)
			for _, partitions := range changed {
				c.assigned[number].Add(sign * int64(len(partitions)))
			}
		}
	}
	return []kgo.Opt{
		kgo.ConsumerGroup(group),
		kgo.OnPartitionsAssigned(count(1)), kgo.OnPartitionsRevoked(count(-1)), kgo.OnPartitionsLost(count(-1)),
	}
}

// close leaves the group. Clients of a group are closed at the same time: one after the other they would
// rebalance again and again.
func (c *kafkaConsumers) close() {
	c.stop()
	done := make(chan struct{})
	for _, client := range c.clients {
		go func() { client.Close(); done <- struct{}{} }()
	}
	for range c.clients {
		<-done
	}
}

// settle waits until every member has its share of the partitions and keeps it; how long it took to get it.
func (c *kafkaConsumers) settle(ctx context.Context, partitions int) (time.Duration, error) {
	began := time.Now()
	settled, changes := began, int64(-1)
	least := int64(partitions / len(c.clients))
	for {
		if now := c.changes.Load(); now != changes {
			settled, changes = time.Now(), now
		}
		total, fewest := int64(0), int64(partitions)
		for number := range c.assigned {
			held := c.assigned[number].Load()
			total, fewest = total+held, min(fewest, held)
		}
		if total == int64(partitions) && fewest >= least && time.Since(settled) > calm {
			return settled.Sub(began), nil
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("%d of %d partitions were assigned in the end", total, partitions)
		case <-time.After(time.Millisecond):
		}
	}
}

// tasks poll, each of them one client, until all together have received everything.
func (c *kafkaConsumers) tasks() []func() error {
	tasks := make([]func() error, len(c.clients))
	for number, client := range c.clients {
		tasks[number] = func() error {
			defer c.stop()
			for c.received.Load() < c.messages {
				fetches := client.PollFetches(c.polling)
				if c.received.Load() >= c.messages {
					break
				}
				if err := c.polling.Err(); err != nil {
					return fmt.Errorf("%w, after %d of %d messages", err, c.received.Load(), c.messages)
				}
				for _, failed := range fetches.Errors() {
					return fmt.Errorf("partition %d: %w", failed.Partition, failed.Err)
				}
				if err := c.take(number, fetches); err != nil {
					return err
				}
			}
			return nil
		}
	}
	return tasks
}

// take counts what came and was not there before.
func (c *kafkaConsumers) take(number int, fetches kgo.Fetches) (err error) {
	now := time.Now().UnixNano()
	fetches.EachPartition(func(fetched kgo.FetchTopicPartition) {
		records, failure := c.fresh(int(fetched.Partition), fetched.Records)
		if failure != nil || len(records) == 0 {
			err = cmp.Or(err, failure)
			return
		}
		if c.timed {
			for _, record := range records {
				c.taken[number] = append(c.taken[number], taken{int64(binary.BigEndian.Uint64(record.Value)), now})
			}
		}
		c.received.Add(int64(len(records)))
	})
	return err
}

// fresh are those of a partition's records that no member had. One that has just been given the partition
// begins where the one before had committed, so records may come twice; none may be left out.
func (c *kafkaConsumers) fresh(partition int, records []*kgo.Record) ([]*kgo.Record, error) {
	c.lock.Lock()
	defer c.lock.Unlock()
	for len(records) > 0 && records[0].Offset < c.next[partition] {
		c.redelivered++
		records = records[1:]
	}
	if len(records) == 0 {
		return nil, nil
	}
	last := records[len(records)-1]
	if records[0].Offset != c.next[partition] || last.Offset-records[0].Offset != int64(len(records)-1) {
		return nil, fmt.Errorf("partition %d: records are missing between offsets %d and %d",
			partition, c.next[partition], last.Offset)
	}
	if len(last.Value) != c.size {
		return nil, fmt.Errorf("partition %d: %d bytes came instead of %d", partition, len(last.Value), c.size)
	}
	c.next[partition] = last.Offset + 1
	return records, nil
}

// latencies of the records that were stamped from that moment on.
func (c *kafkaConsumers) latencies(from time.Time) []time.Duration {
	found := []time.Duration{}
	for _, records := range c.taken {
		for _, record := range records {
			if record.stamp >= from.UnixNano() {
				found = append(found, time.Duration(record.at-record.stamp))
			}
		}
	}
	return found
}

func kafkaConsume(o options) (map[string]any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), kafkaPatience)
	defer cancel()
	var consumers *kafkaConsumers
	// The client begins to fetch when it is made, so it is made when the clock runs.
	result, err := measure(o, o.messages, func() (err error) {
		if consumers, err = newKafkaConsumers(ctx, o, o.messages, false); err != nil {
			return err
		}
		return consumers.tasks()[0]()
	})
	if consumers != nil {
		consumers.close()
	}
	return addKafka(result, o), err
}
