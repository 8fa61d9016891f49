package main

import (
	"context"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// amqpOptions are those of the commands that speak AMQP 0-9-1, to Portask or to any other broker.
type amqpOptions struct {
	amqp      string
	topology  string
	queues    int
	bindings  int
	transient bool
	confirm   bool
	autoAck   bool
	volatile  bool
	channels  bool
}

const (
	amqpPatience = 280 * time.Second
	// Consumers acknowledge so many messages at once: a fifth of what they may hold.
	ackShare = 5
	// Room for confirms that have come and were not looked at yet.
	confirmRoom = 4096
	// A step between two bindings that is prime to their number, so that neighbours in time are not neighbours.
	bindingStep = 7919
)

func (o options) dialAmqp() (*amqp.Connection, error) {
	return amqp.Dial("amqp://guest:guest@" + o.amqp + "/")
}

// withChannel calls do with a channel on a connection of its own.
func (o options) withChannel(do func(*amqp.Channel) error) error {
	conn, err := o.dialAmqp()
	if err != nil {
		return err
	}
	defer conn.Close()
	channel, err := conn.Channel()
	if err != nil {
		return err
	}
	return do(channel)
}

// topology is queues and the way to them: "queues" through the default exchange, each message to the next of them;
// "fanout" through an exchange that copies to all; "topic" through an exchange with many bindings, of which every
// routing key meets one.
type topology struct {
	options
	exchange string
	copies   int // deliveries of each message
}

func (o options) topologyOf() (topology, error) {
	switch o.topology {
	case "queues":
		return topology{o, "", 1}, nil
	case "fanout":
		return topology{o, o.topic, o.queues}, nil
	case "topic":
		if o.bindings%o.queues != 0 || o.bindings%bindingStep == 0 || o.queues%bindingStep == 0 {
			return topology{}, fmt.Errorf("%d bindings do not go evenly to %d queues", o.bindings, o.queues)
		}
		return topology{o, o.topic, 1}, nil
	}
	return topology{}, fmt.Errorf("no topology is called %q", o.topology)
}

func (t topology) queue(number int) string {
	return fmt.Sprintf("%s-%d", t.topic, number)
}

// key is the routing key of the message of that number.
func (t topology) key(number int) string {
	switch t.topology {
	case "queues":
		return t.queue(number % t.queues)
	case "topic":
		return fmt.Sprintf("shop.%d.order.created", number*bindingStep%t.bindings)
	}
	return ""
}

// expected is how many of the first messages come to a queue.
func (t topology) expected(queue, messages int) int {
	if t.topology == "fanout" {
		return messages
	}
	count := messages / t.queues
	// A turn brings one message to each queue: the step is prime to their number.
	rest := messages % t.queues
	for number := messages - rest; number < messages; number++ {
		if t.target(number) == queue {
			count++
		}
	}
	return count
}

// target is the queue that the message of that number comes to, unless all get it.
func (t topology) target(number int) int {
	if t.topology == "topic" {
		return number * bindingStep % t.bindings % t.queues
	}
	return number % t.queues
}

// pattern is the binding key of that number: all kinds, of which `*` and `#` have to be tried for every key.
func pattern(number int) string {
	switch number % 4 {
	case 0:
		return fmt.Sprintf("shop.%d.order.created", number)
	case 1:
		return fmt.Sprintf("shop.%d.order.*", number)
	case 2:
		return fmt.Sprintf("shop.%d.#", number)
	}
	return fmt.Sprintf("*.%d.order.created", number)
}

// declare makes queues, exchange and bindings.
func (t topology) declare() error {
	return t.withChannel(func(channel *amqp.Channel) error {
		for number := 0; number < t.queues; number++ {
			if _, err := channel.QueueDeclare(t.queue(number), !t.volatile, false, false, false, nil); err != nil {
				return err
			}
		}
		if t.exchange == "" {
			return nil
		}
		if err := channel.ExchangeDeclare(t.exchange, t.topology, !t.volatile, false, false, false, nil); err != nil {
			return err
		}
		if t.topology == "fanout" {
			for number := 0; number < t.queues; number++ {
				if err := channel.QueueBind(t.queue(number), "", t.exchange, false, nil); err != nil {
					return err
				}
			}
			return nil
		}
		for number := 0; number < t.bindings; number++ {
			if err := channel.QueueBind(t.queue(number%t.queues), pattern(number), t.exchange, false, nil); err != nil {
				return err
			}
		}
		return nil
	})
}

// waiting is how many messages are ready in all queues, which must be there.
func (t topology) waiting() (int, error) {
	total := 0
	err := t.withChannel(func(channel *amqp.Channel) error {
		for number := 0; number < t.queues; number++ {
			found, err := channel.QueueDeclarePassive(t.queue(number), !t.volatile, false, false, false, nil)
			if err != nil {
				return err
			}
			total += found.Messages
		}
		return nil
	})
	return total, err
}

// amqpDeclare says how long the topology took.
func amqpDeclare(o options) (map[string]any, error) {
	t, err := o.topologyOf()
	started := time.Now()
	if err == nil {
		err = t.declare()
	}
	return map[string]any{"queues": o.queues, "seconds": round(time.Since(started).Seconds(), 3)}, err
}

// amqpDelete removes the topology with what waits in it.
func amqpDelete(o options) (map[string]any, error) {
	t, err := o.topologyOf()
	if err != nil {
		return nil, err
	}
	return map[string]any{"topic": o.topic}, t.withChannel(func(channel *amqp.Channel) error {
		if t.exchange != "" {
			if err := channel.ExchangeDelete(t.exchange, false, false); err != nil {
				return err
			}
		}
		for number := 0; number < t.queues; number++ {
			if _, err := channel.QueueDelete(t.queue(number), false, false, false); err != nil {
				return err
			}
		}
		return nil
	})
}

// amqpReady waits until all queues tell that as many messages wait in them as asked for; the broker need not
// run yet. The answer is the moment, comparable with clocks of other processes.
func amqpReady(o options) (map[string]any, error) {
	t, err := o.topologyOf()
	if err != nil {
		return nil, err
	}
	deadline := time.Now().Add(time.Duration(o.seconds) * time.Second)
	for attempts := 1; ; attempts++ {
		waiting, err := t.waiting()
		if err == nil && waiting == o.messages {
			return map[string]any{"at_ns": time.Now().UnixNano(), "attempts": attempts}, nil
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("not ready after %d s: %d of %d messages: %w", o.seconds, waiting, o.messages, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// amqpAlive waits until a connection can be opened.
func amqpAlive(o options) (map[string]any, error) {
	deadline := time.Now().Add(time.Duration(o.seconds) * time.Second)
	for {
		conn, err := o.dialAmqp()
		if err == nil {
			return map[string]any{"at_ns": time.Now().UnixNano()}, conn.Close()
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("no connection after %d s: %w", o.seconds, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// amqpIdle opens connections and does nothing on them.
func amqpIdle(o options) (map[string]any, error) {
	before, err := o.look()
	if err != nil {
		return nil, err
	}
	for number := 0; number < o.connections; number++ {
		conn, err := o.dialAmqp()
		if err == nil && o.channels {
			_, err = conn.Channel()
		}
		if err != nil {
			return nil, fmt.Errorf("connection %d: %w", number+1, err)
		}
		defer conn.Close()
	}
	opened, err := o.look()
	if err != nil {
		return nil, err
	}
	time.Sleep(time.Duration(o.seconds) * time.Second)
	after, err := o.look()
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"connections": o.connections, "rss_bytes_before": before.rss, "rss_bytes": after.rss,
		"open_s":      round(opened.at.Sub(before.at).Seconds(), 3),
		"cpu_percent": round((after.cpu-opened.cpu)/after.at.Sub(opened.at).Seconds()*100, 2),
	}, nil
}

func amqpContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), amqpPatience)
}
