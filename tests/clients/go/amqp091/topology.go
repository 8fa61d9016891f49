package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"

	amqp "github.com/rabbitmq/amqp091-go"
)

func init() {
	commands["route"] = route
	commands["missing"] = missing
	commands["mismatch"] = mismatch
	commands["recover"] = recovered
}

// route sends a message through two exchanges of which the first feeds the second, then takes the way away.
func route(_ *amqp.Connection, channel *amqp.Channel) error {
	inner := *exchange + "-inner"
	for _, name := range []string{*exchange, inner} {
		if err := channel.ExchangeDeclare(name, *kind, true, false, false, false, nil); err != nil {
			return err
		}
	}
	steps := []func() error{
		func() error { return declare(channel) },
		func() error { return channel.ExchangeBind(inner, *key, *exchange, false, nil) },
		func() error { return channel.QueueBind(*queue, *key, inner, false, nil) },
		func() error { return publishTo(channel, *exchange) },
		func() error { return emitCount(channel, "bound") },
		func() error { return channel.ExchangeUnbind(inner, *key, *exchange, false, nil) },
		func() error { return publishTo(channel, *exchange) },
		func() error { return emitCount(channel, "unbound") },
		func() error { return publishTo(channel, inner) },
		func() error { return emitCount(channel, "inner") },
		func() error {
			purged, err := channel.QueuePurge(*queue, false)
			emit(map[string]any{"purged": purged})
			return err
		},
		func() error { return channel.ExchangeDelete(*exchange, false, false) },
		func() error { return channel.ExchangeDelete(inner, false, false) },
		func() error {
			_, err := channel.QueueDelete(*queue, false, false, false)
			return err
		},
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func publishTo(channel *amqp.Channel, name string) error {
	return channel.PublishWithContext(context.Background(), name, *key, false, false, amqp.Publishing{Body: body(0)})
}

// emitCount asks after what was published on the same channel, and must see it.
func emitCount(channel *amqp.Channel, moment string) error {
	message, found, err := channel.Get(*queue, true)
	emit(map[string]any{"moment": moment, "found": found, "exchange": message.Exchange})
	return err
}

// missing asks for a queue that is not there: the channel is closed, the connection goes on.
func missing(connection *amqp.Connection, channel *amqp.Channel) error {
	_, err := channel.QueueDeclarePassive(*queue, true, false, false, false, nil)
	return emitError(connection, err)
}

// mismatch declares a queue that is there with another durability.
func mismatch(connection *amqp.Connection, channel *amqp.Channel) error {
	if err := declare(channel); err != nil {
		return err
	}
	_, err := channel.QueueDeclare(*queue, false, false, false, false, nil)
	return emitError(connection, err)
}

func emitError(connection *amqp.Connection, err error) error {
	var told *amqp.Error
	if !errors.As(err, &told) {
		return fmt.Errorf("no error of the broker: %w", err)
	}
	if _, err := connection.Channel(); err != nil {
		return err
	}
	emit(map[string]any{"code": told.Code, "reason": told.Reason, "server": told.Server})
	return nil
}

// recovered lets the client bring everything back after the broker was restarted: an exchange that was not durable,
// its binding to a queue of this connection alone, and the consumer of that queue. A line on standard input says
// that the broker runs again.
func recovered(connection *amqp.Connection, channel *amqp.Channel) error {
	if err := channel.ExchangeDeclare(*exchange, "topic", false, true, false, false, nil); err != nil {
		return err
	}
	if _, err := channel.QueueDeclare(*queue, false, false, true, false, nil); err != nil {
		return err
	}
	if err := channel.QueueBind(*queue, "orders.*", *exchange, false, nil); err != nil {
		return err
	}
	changes := make(chan *amqp.StateChanged, 16)
	connection.NotifyStateChange(changes)
	deliveries, err := channel.Consume(*queue, "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	input := bufio.NewScanner(os.Stdin)
	for _, moment := range []string{"first", "second"} {
		message := amqp.Publishing{Body: []byte(moment)}
		if err := channel.PublishWithContext(context.Background(), *exchange, "orders.new", true, false, message); err != nil {
			return err
		}
		delivery, err := within(deliveries, "a message")
		if err != nil {
			return err
		}
		if err = delivery.Ack(false); err != nil {
			return err
		}
		emit(map[string]any{"body": string(delivery.Body), "exchange": delivery.Exchange})
		if moment == "second" {
			return nil
		}
		if !input.Scan() {
			return fmt.Errorf("nobody said that the broker runs again: %w", input.Err())
		}
		if err := reopened(changes); err != nil {
			return err
		}
	}
	return nil
}

// reopened returns when the connection is open again.
func reopened(changes <-chan *amqp.StateChanged) error {
	for {
		change, err := within(changes, "the connection")
		if err != nil {
			return err
		}
		if change.To == amqp.StateOpen {
			return nil
		}
	}
}
