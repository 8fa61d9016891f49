package main

import (
	"context"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// amqpConsumer takes from one queue, on a channel of its own, what comes to it.
type amqpConsumer struct {
	channel     *amqp.Channel
	deliveries  <-chan amqp.Delivery
	queue       string
	expected    int
	ackEvery    int // 0: the broker does not wait for acks
	redelivered int
	onMessage   func(number int, body []byte, at time.Time) // may be nil
}

// amqpConsumers are one for each queue, on as many connections as asked for.
type amqpConsumers struct {
	conns []*amqp.Connection
	all   []*amqpConsumer
}

// newAmqpConsumers subscribes to all queues, of which it expects so many messages.
func newAmqpConsumers(t topology, messages int) (*amqpConsumers, error) {
	c := &amqpConsumers{}
	for len(c.conns) < t.consumers {
		conn, err := t.dialAmqp()
		if err != nil {
			return nil, err
		}
		c.conns = append(c.conns, conn)
	}
	for number := 0; number < t.queues; number++ {
		one, err := newAmqpConsumer(t, c.conns[number%len(c.conns)], t.queue(number))
		if err != nil {
			return nil, err
		}
		one.expected = t.expected(number, messages)
		c.all = append(c.all, one)
	}
	return c, nil
}

func newAmqpConsumer(t topology, conn *amqp.Connection, queue string) (*amqpConsumer, error) {
	channel, err := conn.Channel()
	if err != nil {
		return nil, err
	}
	c := &amqpConsumer{channel: channel, queue: queue}
	if !t.autoAck {
		c.ackEvery = max(t.prefetch/ackShare, 1)
		if err = channel.Qos(t.prefetch, 0, false); err != nil {
			return nil, err
		}
	}
	c.deliveries, err = channel.Consume(queue, "", t.autoAck, false, false, false, nil)
	return c, err
}

// run returns when all that is expected has come and the acks are sent.
func (c *amqpConsumer) run(ctx context.Context) error {
	unacked := 0
	for number := 0; number < c.expected; number++ {
		select {
		case delivery, open := <-c.deliveries:
			if !open {
				return fmt.Errorf("%s: the channel was closed after %d of %d messages", c.queue, number, c.expected)
			}
			if c.onMessage != nil {
				c.onMessage(number, delivery.Body, time.Now())
			}
			if delivery.Redelivered {
				c.redelivered++
			}
			unacked++
			if c.ackEvery > 0 && (unacked >= c.ackEvery || number == c.expected-1) {
				if err := delivery.Ack(true); err != nil {
					return err
				}
				unacked = 0
			}
		case <-ctx.Done():
			return fmt.Errorf("%s: %d of %d messages came in time", c.queue, number, c.expected)
		}
	}
	return nil
}

func (c *amqpConsumers) tasks(ctx context.Context) []func() error {
	tasks := make([]func() error, len(c.all))
	for number, one := range c.all {
		tasks[number] = func() error { return one.run(ctx) }
	}
	return tasks
}

func (c *amqpConsumers) close() {
	for _, conn := range c.conns {
		_ = conn.Close()
	}
}

// finish ends the connections and makes sure that nothing came twice or is left.
func (c *amqpConsumers) finish(t topology) error {
	c.close()
	for _, one := range c.all {
		if one.redelivered > 0 {
			return fmt.Errorf("%s: %d messages came twice", one.queue, one.redelivered)
		}
	}
	if left, err := t.waiting(); err != nil || left > 0 {
		return fmt.Errorf("%d messages are left: %w", left, err)
	}
	return nil
}
