package main

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Latencies count when the first tenth of a paced run is over.
const settlingShare = 10

// beginBoth makes the topic, the producers and the consumers of a run; a group has its partitions when it returns.
func (o options) beginBoth(ctx context.Context, messages int, timed bool) (
	producers []*kafkaProducer, consumers *kafkaConsumers, joined time.Duration, err error,
) {
	if err = o.makeTopic(ctx); err != nil {
		return
	}
	if producers, err = newKafkaProducers(ctx, o); err != nil {
		return
	}
	if consumers, err = newKafkaConsumers(ctx, o, messages, timed); err != nil {
		return
	}
	if o.group != "" {
		// Members join when they are made, before they poll.
		joined, err = consumers.settle(ctx, o.partitions)
	}
	return
}

// kafkaBoth produces and consumes at the same time; with a group, latencies are kept, from the moment at which
// a record was handed to the client.
func kafkaBoth(o options) (map[string]any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), kafkaPatience)
	defer cancel()
	timed := o.group != ""
	producers, consumers, joined, err := o.beginBoth(ctx, o.messages, timed)
	if err != nil {
		return nil, err
	}
	defer closeProducers(producers)
	defer consumers.close()
	tasks := append(consumers.tasks(), flatOut(ctx, producers, o.messages, timed)...)
	result, err := measure(o, o.messages, tasks...)
	if err != nil {
		return nil, err
	}
	if timed {
		result["delivery_ms"] = summary(consumers.latencies(time.Unix(0, 0)))
		result["joined_ms"] = round(joined.Seconds()*1000, 1)
	}
	return addKafka(result, o), nil
}

// kafkaLatency produces single records at moments that are fixed beforehand, the producers taking turns, and
// consumes them at the same time. Latencies count from those moments, as those of paced do.
func kafkaLatency(o options) (map[string]any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), kafkaPatience)
	defer cancel()
	messages := int(o.rate * float64(o.seconds))
	// One more: the record with which the topic and its consumer are found to work.
	producers, consumers, _, err := o.beginBoth(ctx, messages+1, true)
	if err != nil {
		return nil, err
	}
	defer closeProducers(producers)
	defer consumers.close()
	ended := make(chan error, len(consumers.clients))
	for _, task := range consumers.tasks() {
		go func() { ended <- task() }()
	}
	producers[0].produce(ctx, 0, time.Unix(0, 1), nil)
	select {
	case <-consumers.first:
	case err = <-ended:
		return nil, err
	case <-ctx.Done():
		return nil, fmt.Errorf("the first record did not come")
	}
	p := kafkaPaced{producers: producers, messages: messages, rate: o.rate}
	result, err := measure(o, messages, func() error { return p.run(ctx) }, func() error {
		for range consumers.clients {
			if err := <-ended; err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	settled := p.start.Add(time.Duration(o.seconds) * time.Second / settlingShare)
	result["rate"], result["late_ms"] = o.rate, summary(p.late)
	result["confirm_ms"], result["delivery_ms"] = summary(p.confirms), summary(consumers.latencies(settled))
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
