package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// amqpPublisher is one connection that publishes log lines; with confirms, at most a window of them unconfirmed.
type amqpPublisher struct {
	topology
	conn      *amqp.Connection
	channel   *amqp.Channel
	lines     [][]byte
	keys      []string
	confirms  chan amqp.Confirmation
	room      chan struct{}
	onConfirm func(number int, at time.Time) // may be nil
}

// newAmqpPublishers makes as many as asked for; message number n is the business of publisher n modulo their number.
func newAmqpPublishers(t topology) ([]*amqpPublisher, error) {
	lines := logLines(t.size, t.seed)
	keys := make([]string, max(t.queues, t.bindings))
	for number := range keys {
		keys[number] = t.key(number)
	}
	made := []*amqpPublisher{}
	for len(made) < t.producers {
		p := &amqpPublisher{topology: t, lines: lines, keys: keys}
		if err := p.open(); err != nil {
			return nil, err
		}
		made = append(made, p)
	}
	return made, nil
}

func (p *amqpPublisher) open() (err error) {
	if p.conn, err = p.dialAmqp(); err != nil {
		return err
	}
	if p.channel, err = p.conn.Channel(); err != nil || !p.confirm {
		return err
	}
	p.confirms = p.channel.NotifyPublish(make(chan amqp.Confirmation, confirmRoom))
	p.room = make(chan struct{}, p.window)
	return p.channel.Confirm(false)
}

// publish sends the message of that number, when there is room for it; one that is stamped is a copy.
func (p *amqpPublisher) publish(ctx context.Context, number int, stamp time.Time) error {
	body := p.lines[number%len(p.lines)]
	if !stamp.IsZero() {
		body = append([]byte(nil), body...)
		binary.BigEndian.PutUint64(body, uint64(stamp.UnixNano()))
	}
	mode := amqp.Persistent
	if p.transient {
		mode = amqp.Transient
	}
	if p.confirm {
		p.room <- struct{}{}
	}
	message := amqp.Publishing{DeliveryMode: mode, Body: body}
	return p.channel.PublishWithContext(ctx, p.exchange, p.keys[number%len(p.keys)], false, false, message)
}

// takeConfirms returns when count messages are confirmed.
func (p *amqpPublisher) takeConfirms(ctx context.Context, count int) error {
	for number := 0; number < count; number++ {
		select {
		case confirmed, open := <-p.confirms:
			if !open {
				return fmt.Errorf("the channel was closed with %d of %d messages confirmed", number, count)
			}
			if !confirmed.Ack {
				return fmt.Errorf("message %d was refused", confirmed.DeliveryTag)
			}
			if p.onConfirm != nil {
				p.onConfirm(number, time.Now())
			}
			<-p.room
		case <-ctx.Done():
			return fmt.Errorf("%d of %d messages were confirmed in time", number, count)
		}
	}
	return nil
}

// amqpFlatOut are tasks that publish all messages, each publisher its share, and wait for what is confirmed.
func amqpFlatOut(ctx context.Context, publishers []*amqpPublisher, messages int) []func() error {
	tasks := []func() error{}
	for index, p := range publishers {
		if p.confirm {
			share := (messages - index + len(publishers) - 1) / len(publishers)
			tasks = append(tasks, func() error { return p.takeConfirms(ctx, share) })
		}
		tasks = append(tasks, func() error {
			for number := index; number < messages; number += len(publishers) {
				if err := p.publish(ctx, number, time.Time{}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return tasks
}

func closePublishers(publishers []*amqpPublisher) {
	for _, p := range publishers {
		_ = p.conn.Close()
	}
}
