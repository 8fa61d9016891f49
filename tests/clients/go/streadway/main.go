// The streadway/amqp client, the ancestor of amqp091-go, as a program: one command per process, results as JSON lines.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/streadway/amqp"
)

var (
	bootstrap = flag.String("bootstrap", "127.0.0.1:5672", "host:port")
	queue     = flag.String("queue", "", "queue name")
	key       = flag.String("key", "", "routing key")
	count     = flag.Int("count", 1, "number of messages")
	commands  = map[string]func(*amqp.Connection, *amqp.Channel) error{
		"publish": publish, "consume": consume, "return": returned, "cancelled": cancelled, "missing": missing,
	}
	output = json.NewEncoder(os.Stdout)
	late   = time.After(20 * time.Second)
)

func emit(fields map[string]any) {
	if err := output.Encode(fields); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func main() {
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fail(fmt.Errorf("usage: streadway publish|consume|return|cancelled|missing [FLAGS]"))
	}
	if err := flag.CommandLine.Parse(os.Args[2:]); err != nil {
		fail(err)
	}
	connection, err := amqp.Dial("amqp://guest:guest@" + *bootstrap + "/")
	if err != nil {
		fail(err)
	}
	channel, err := connection.Channel()
	if err == nil {
		err = commands[os.Args[1]](connection, channel)
	}
	if err == nil {
		err = connection.Close()
	}
	if err != nil {
		fail(err)
	}
}

func declare(channel *amqp.Channel) error {
	_, err := channel.QueueDeclare(*queue, true, false, false, false, nil)
	return err
}

// publish declares the queue, sends persistent messages and waits for all confirms.
func publish(_ *amqp.Connection, channel *amqp.Channel) error {
	if err := declare(channel); err != nil {
		return err
	}
	if err := channel.Confirm(false); err != nil {
		return err
	}
	confirms := channel.NotifyPublish(make(chan amqp.Confirmation, *count))
	for number := 0; number < *count; number++ {
		message := amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte(fmt.Sprintf("message %d", number))}
		if err := channel.Publish("", *queue, false, false, message); err != nil {
			return err
		}
	}
	acked := 0
	for number := 0; number < *count; number++ {
		select {
		case confirmed := <-confirms:
			if confirmed.Ack {
				acked++
			}
		case <-late:
			return errors.New("a confirm did not come")
		}
	}
	emit(map[string]any{"acked": acked})
	return nil
}

// consume takes messages and acks them all with the last one.
func consume(_ *amqp.Connection, channel *amqp.Channel) error {
	deliveries, err := channel.Consume(*queue, "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	for number := 0; number < *count; number++ {
		select {
		case delivery := <-deliveries:
			emit(map[string]any{"body": string(delivery.Body), "redelivered": delivery.Redelivered})
			if number == *count-1 {
				if err := delivery.Ack(true); err != nil {
					return err
				}
			}
		case <-late:
			return errors.New("a message did not come")
		}
	}
	return nil
}

// returned publishes what no queue gets.
func returned(_ *amqp.Connection, channel *amqp.Channel) error {
	returns := channel.NotifyReturn(make(chan amqp.Return, 1))
	if err := channel.Publish("", *key, true, false, amqp.Publishing{Body: []byte("back")}); err != nil {
		return err
	}
	select {
	case back := <-returns:
		emit(map[string]any{"code": back.ReplyCode, "text": back.ReplyText, "key": back.RoutingKey, "body": string(back.Body)})
	case <-late:
		return errors.New("the message did not come back")
	}
	return nil
}

// cancelled deletes a queue under its consumer.
func cancelled(connection *amqp.Connection, channel *amqp.Channel) error {
	if err := declare(channel); err != nil {
		return err
	}
	cancels := channel.NotifyCancel(make(chan string, 1))
	if _, err := channel.Consume(*queue, "counter", false, false, false, false, nil); err != nil {
		return err
	}
	other, err := connection.Channel()
	if err != nil {
		return err
	}
	if _, err = other.QueueDelete(*queue, false, false, false); err != nil {
		return err
	}
	select {
	case tag := <-cancels:
		emit(map[string]any{"cancelled": tag})
	case <-late:
		return errors.New("the consumer was not cancelled")
	}
	return nil
}

// missing asks for a queue that is not there.
func missing(_ *amqp.Connection, channel *amqp.Channel) error {
	_, err := channel.QueueDeclarePassive(*queue, true, false, false, false, nil)
	var told *amqp.Error
	if !errors.As(err, &told) {
		return fmt.Errorf("no error of the broker: %w", err)
	}
	emit(map[string]any{"code": told.Code, "reason": told.Reason})
	return nil
}
