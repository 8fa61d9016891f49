package main

import (
	"encoding/binary"
	"time"
)

func addAmqp(result map[string]any, t topology) map[string]any {
	if result != nil {
		result["queues"], result["bindings"], result["copies"] = t.queues, t.bindings, t.copies
		result["producers"], result["consumers"] = t.producers, t.consumers
		result["transient"], result["confirm"], result["auto_ack"] = t.transient, t.confirm, t.autoAck
		result["window"], result["prefetch"] = t.window, t.prefetch
	}
	return result
}

// amqpPublish publishes to a topology that is there.
func amqpPublish(o options) (map[string]any, error) {
	ctx, cancel := amqpContext()
	defer cancel()
	t, err := o.topologyOf()
	if err != nil {
		return nil, err
	}
	publishers, err := newAmqpPublishers(t)
	if err != nil {
		return nil, err
	}
	defer closePublishers(publishers)
	result, err := measure(o, o.messages, amqpFlatOut(ctx, publishers, o.messages)...)
	return addAmqp(result, t), err
}

// amqpConsume consumes all that waits in a topology; subscribing is part of what is measured.
func amqpConsume(o options) (map[string]any, error) {
	ctx, cancel := amqpContext()
	defer cancel()
	t, err := o.topologyOf()
	if err != nil {
		return nil, err
	}
	var consumers *amqpConsumers
	result, err := measure(o, o.messages, func() (err error) {
		if consumers, err = newAmqpConsumers(t, o.messages); err != nil {
			return err
		}
		return together(consumers.tasks(ctx))
	})
	if err == nil {
		err = consumers.finish(t)
	}
	return addAmqp(result, t), err
}

// amqpBoth publishes and consumes at the same time.
func amqpBoth(o options) (map[string]any, error) {
	ctx, cancel := amqpContext()
	defer cancel()
	t, err := o.topologyOf()
	if err != nil {
		return nil, err
	}
	consumers, err := newAmqpConsumers(t, o.messages)
	if err != nil {
		return nil, err
	}
	defer consumers.close()
	publishers, err := newAmqpPublishers(t)
	if err != nil {
		return nil, err
	}
	defer closePublishers(publishers)
	tasks := append(amqpFlatOut(ctx, publishers, o.messages), consumers.tasks(ctx)...)
	result, err := measure(o, o.messages, tasks...)
	if err == nil {
		err = consumers.finish(t)
	}
	return addAmqp(result, t), err
}

// amqpLatency publishes single messages at moments that are fixed beforehand to one queue and consumes them at
// the same time. Latencies count from those moments, as those of paced do.
func amqpLatency(o options) (map[string]any, error) {
	ctx, cancel := amqpContext()
	defer cancel()
	o.producers, o.consumers, o.queues = 1, 1, 1
	t, err := o.topologyOf()
	if err != nil {
		return nil, err
	}
	messages := int(o.rate * float64(o.seconds))
	consumers, err := newAmqpConsumers(t, messages)
	if err != nil {
		return nil, err
	}
	defer consumers.close()
	publishers, err := newAmqpPublishers(t)
	if err != nil {
		return nil, err
	}
	defer closePublishers(publishers)
	p, settled := publishers[0], messages/settlingShare
	deliveries, confirms, late := []time.Duration{}, []time.Duration{}, []time.Duration{}
	var start time.Time
	dueAt := func(number int) time.Time {
		return start.Add(time.Duration(float64(number) * float64(time.Second) / o.rate))
	}
	consumers.all[0].ackEvery = 1
	consumers.all[0].onMessage = func(number int, body []byte, at time.Time) {
		if number >= settled {
			deliveries = append(deliveries, at.Sub(time.Unix(0, int64(binary.BigEndian.Uint64(body)))))
		}
	}
	p.onConfirm = func(number int, at time.Time) {
		if number >= settled {
			confirms = append(confirms, at.Sub(dueAt(number)))
		}
	}
	tasks := append(consumers.tasks(ctx), func() error {
		return atMoments(messages, dueAt, func(number int, due time.Time) error {
			if number >= settled {
				late = append(late, time.Since(due))
			}
			return p.publish(ctx, number, due)
		})
	})
	// Fixed before anything runs: confirms are compared with it.
	start = time.Now().Add(100 * time.Millisecond)
	if p.confirm {
		tasks = append(tasks, func() error { return p.takeConfirms(ctx, messages) })
	}
	result, err := measure(o, messages, tasks...)
	if err != nil {
		return nil, err
	}
	result["rate"], result["delivery_ms"] = o.rate, summary(deliveries)
	result["late_ms"] = summary(late)
	if p.confirm {
		result["confirm_ms"] = summary(confirms)
	}
	return addAmqp(result, t), consumers.finish(t)
}

// together runs all of the tasks at the same time and returns the first failure.
func together(tasks []func() error) error {
	done := make(chan error, len(tasks))
	for _, task := range tasks {
		go func() { done <- task() }()
	}
	for range tasks {
		if err := <-done; err != nil {
			return err
		}
	}
	return nil
}
