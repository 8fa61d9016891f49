package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Latencies count when the first tenth of a paced run is over.
const settlingShare = 10

// kafkaRun is producers and consumers of one topic that are about to work at the same time.
type kafkaRun struct {
	producers []*kafkaProducer
	consumers *kafkaConsumers
	joined    time.Duration // how long the group took
	ended     chan error    // one for each consumer
}

// beginRun returns when every partition has brought one record to its consumer: files are made, groups have
// settled, and what is measured next is the work alone.
func (o options) beginRun(ctx context.Context, messages int, timed bool) (*kafkaRun, error) {
	r := &kafkaRun{ended: make(chan error, o.consumers)}
	err := o.makeTopic(ctx)
	if err == nil {
		err = o.touch(ctx)
	}
	if err == nil {
		r.producers, err = newKafkaProducers(ctx, o)
	}
	if err == nil {
		r.consumers, err = newKafkaConsumers(ctx, o, messages+o.partitions, timed)
	}
	if err != nil {
		return nil, err
	}
	for _, task := range r.consumers.tasks() {
		go func() { r.ended <- task() }()
	}
	if o.group != "" {
		if r.joined, err = r.consumers.settle(ctx, o.partitions); err != nil {
			return nil, err
		}
	}
	for r.consumers.received.Load() < int64(o.partitions) {
		select {
		case err = <-r.ended:
			return nil, err
		case <-ctx.Done():
			return nil, fmt.Errorf("the first records did not come")
		case <-time.After(time.Millisecond):
		}
	}
	return r, nil
}

// touch produces one record to each partition.
func (o options) touch(ctx context.Context) error {
	client, err := o.client(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DisableIdempotentWrite())
	if err != nil {
		return err
	}
	defer client.Close()
	records := make([]*kgo.Record, o.partitions)
	for partition := range records {
		records[partition] = &kgo.Record{Topic: o.topic, Partition: int32(partition), Value: make([]byte, o.size)}
	}
	return client.ProduceSync(ctx, records...).FirstErr()
}

// consumed waits until everything has been received.
func (r *kafkaRun) consumed() error {
	for range r.consumers.clients {
		if err := <-r.ended; err != nil {
			return err
		}
	}
	return nil
}

func (r *kafkaRun) close() {
	closeProducers(r.producers)
	r.consumers.close()
}

// addDelivery adds latencies from the given moment on, and how the group fared.
func (r *kafkaRun) addDelivery(result map[string]any, from time.Time) {
	result["delivery_ms"] = summary(r.consumers.latencies(from))
	result["redelivered"], result["rebalances"] = r.consumers.redelivered, r.consumers.changes.Load()
	result["joined_ms"] = round(r.joined.Seconds()*1000, 1)
}

// kafkaBoth produces and consumes at the same time; with a group, latencies are kept, from the moment at which
// a record was handed to the client.
func kafkaBoth(o options) (map[string]any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), kafkaPatience)
	defer cancel()
	timed := o.group != ""
	r, err := o.beginRun(ctx, o.messages, timed)
	if err != nil {
		return nil, err
	}
	defer r.close()
	result, err := measure(o, o.messages, append(flatOut(ctx, r.producers, o.messages, timed), r.consumed)...)
	if err != nil {
		return nil, err
	}
	if timed {
		r.addDelivery(result, time.Unix(1, 0))
	}
	return addKafka(result, o), nil
}

// kafkaLatency produces single records at moments that are fixed beforehand, the producers taking turns, and
// consumes them at the same time. Latencies count from those moments, as those of paced do.
func kafkaLatency(o options) (map[string]any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), kafkaPatience)
	defer cancel()
	messages := int(o.rate * float64(o.seconds))
	r, err := o.beginRun(ctx, messages, true)
	if err != nil {
		return nil, err
	}
	defer r.close()
	p := kafkaPaced{producers: r.producers, messages: messages, rate: o.rate}
	result, err := measure(o, messages, func() error { return p.run(ctx) }, r.consumed)
	if err != nil {
		return nil, err
	}
	r.addDelivery(result, p.start.Add(time.Duration(o.seconds)*time.Second/settlingShare))
	result["rate"], result["late_ms"], result["confirm_ms"] = o.rate, summary(p.late), summary(p.confirms)
	return addKafka(result, o), nil
}

// kafkaPaced is producers that take turns, each record at its moment.
type kafkaPaced struct {
	producers []*kafkaProducer
	messages  int
	rate      float64
	start     time.Time
	late      []time.Duration
	confirms  []time.Duration
	lock      sync.Mutex // of confirms
}

func (p *kafkaPaced) run(ctx context.Context) error {
	interval := time.Duration(float64(time.Second) / p.rate)
	p.start = time.Now()
	p.late = make([]time.Duration, 0, p.messages)
	p.confirms = make([]time.Duration, 0, p.messages)
	err := atMoments(p.messages, func(number int) time.Time {
		return p.start.Add(time.Duration(number) * interval)
	}, func(number int, due time.Time) error {
		settled := number >= p.messages/settlingShare
		if settled {
			p.late = append(p.late, time.Since(due))
		}
		p.producers[number%len(p.producers)].produce(ctx, number, due, func() {
			if settled {
				p.lock.Lock()
				p.confirms = append(p.confirms, time.Since(due))
				p.lock.Unlock()
			}
		})
		return nil
	})
	for _, one := range p.producers {
		if err == nil {
			err = one.finish(ctx)
		}
	}
	return err
}
