package main

import (
	"bytes"
	"context"
	"fmt"
	"reflect"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

func init() {
	commands["publish"] = publish
	commands["consume"] = consume
	commands["return"] = returned
	commands["cancelled"] = cancelled
	commands["requeue"] = requeue
	commands["properties"] = properties
	commands["transaction"] = transaction
}

func body(number int) []byte {
	text := fmt.Sprintf("message %d", number)
	if *size > len(text) {
		return append([]byte(text), bytes.Repeat([]byte("."), *size-len(text))...)
	}
	return []byte(text)
}

func arguments() amqp.Table {
	name, value, found := strings.Cut(*argument, "=")
	if !found {
		return nil
	}
	return amqp.Table{name: value}
}

func declare(channel *amqp.Channel) error {
	_, err := channel.QueueDeclare(*queue, true, false, false, false, arguments())
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
		message := amqp.Publishing{DeliveryMode: amqp.Persistent, Body: body(number)}
		if err := channel.PublishWithContext(context.Background(), "", *queue, false, false, message); err != nil {
			return err
		}
	}
	acked := 0
	for number := 0; number < *count; number++ {
		confirmed, err := within(confirms, "a confirm")
		if err != nil {
			return err
		}
		if confirmed.DeliveryTag != uint64(number+1) {
			return fmt.Errorf("confirm %d came in the place of %d", confirmed.DeliveryTag, number+1)
		}
		if confirmed.Ack {
			acked++
		}
	}
	emit(map[string]any{"acked": acked, "nacked": *count - acked})
	return nil
}

// consume takes messages with acks; every fifth and the last message is acked when one ack is for several.
func consume(_ *amqp.Connection, channel *amqp.Channel) error {
	if err := channel.Qos(*prefetch, 0, false); err != nil {
		return err
	}
	deliveries, err := channel.Consume(*queue, "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	for number := 0; number < *count; number++ {
		delivery, err := within(deliveries, "a message")
		if err != nil {
			return err
		}
		text, _, _ := strings.Cut(string(delivery.Body), ".")
		emit(map[string]any{
			"tag": delivery.DeliveryTag, "body": text, "size": len(delivery.Body), "redelivered": delivery.Redelivered,
			"key": delivery.RoutingKey, "exchange": delivery.Exchange,
		})
		if !*multiple || number%5 == 4 || number == *count-1 {
			if err := delivery.Ack(*multiple); err != nil {
				return err
			}
		}
	}
	left, err := channel.QueueDeclarePassive(*queue, true, false, false, false, nil)
	emit(map[string]any{"left": left.Messages, "consumers": left.Consumers})
	return err
}

// returned publishes what no queue gets: it comes back, and is confirmed all the same.
func returned(_ *amqp.Connection, channel *amqp.Channel) error {
	if err := channel.Confirm(false); err != nil {
		return err
	}
	returns := channel.NotifyReturn(make(chan amqp.Return, 1))
	confirms := channel.NotifyPublish(make(chan amqp.Confirmation, 1))
	message := amqp.Publishing{Body: body(0), MessageId: "one"}
	if err := channel.PublishWithContext(context.Background(), *exchange, *key, true, false, message); err != nil {
		return err
	}
	confirmed, err := within(confirms, "the confirm")
	if err != nil {
		return err
	}
	// The return comes first: it must be there by now.
	back := <-returns
	emit(map[string]any{
		"code": back.ReplyCode, "text": back.ReplyText, "key": back.RoutingKey, "id": back.MessageId,
		"body": string(back.Body), "acked": confirmed.Ack,
	})
	return nil
}

// cancelled deletes a queue under its consumer.
func cancelled(connection *amqp.Connection, channel *amqp.Channel) error {
	if err := declare(channel); err != nil {
		return err
	}
	cancels := channel.NotifyCancel(make(chan string, 1))
	deliveries, err := channel.Consume(*queue, "counter", false, false, false, false, nil)
	if err != nil {
		return err
	}
	other, err := connection.Channel()
	if err != nil {
		return err
	}
	if _, err = other.QueueDelete(*queue, false, false, false); err != nil {
		return err
	}
	tag, err := within(cancels, "the cancel")
	if err != nil {
		return err
	}
	_, open := <-deliveries
	emit(map[string]any{"cancelled": tag, "deliveries open": open, "channel closed": channel.IsClosed()})
	return nil
}

// requeue takes messages, gives the first back, and takes it again before the others.
func requeue(_ *amqp.Connection, channel *amqp.Channel) error {
	for _, again := range []bool{true, false} {
		delivery, found, err := channel.Get(*queue, false)
		if err != nil || !found {
			return fmt.Errorf("no message: %w", err)
		}
		emit(map[string]any{"body": string(delivery.Body), "redelivered": delivery.Redelivered, "left": delivery.MessageCount})
		if err = delivery.Nack(false, again); err != nil {
			return err
		}
	}
	return nil
}

// properties sends a message with everything that it may have and compares what comes back.
func properties(_ *amqp.Connection, channel *amqp.Channel) error {
	if err := declare(channel); err != nil {
		return err
	}
	sent := amqp.Publishing{
		Headers: amqp.Table{
			"bool": true, "int8": int8(-8), "int16": int16(-16), "int32": int32(-32), "int64": int64(-64),
			"float32": float32(1.5), "float64": 2.25, "string": "text", "bytes": []byte{0, 255},
			"decimal": amqp.Decimal{Scale: 2, Value: 12345}, "time": time.Unix(1_700_000_000, 0), "void": nil,
			"table": amqp.Table{"inner": "value"}, "array": []any{int32(1), "two", true},
		},
		ContentType: "application/json", ContentEncoding: "utf-8", DeliveryMode: amqp.Persistent, Priority: 7,
		CorrelationId: "correlation", ReplyTo: "replies", Expiration: "600000", MessageId: "message",
		Timestamp: time.Unix(1_700_000_000, 0), Type: "kind", UserId: "guest", AppId: "tests", Body: body(0),
	}
	if err := channel.PublishWithContext(context.Background(), "", *queue, false, false, sent); err != nil {
		return err
	}
	got, found, err := channel.Get(*queue, true)
	if err != nil || !found {
		return fmt.Errorf("no message: %w", err)
	}
	back := amqp.Publishing{
		Headers: got.Headers, ContentType: got.ContentType, ContentEncoding: got.ContentEncoding,
		DeliveryMode: got.DeliveryMode, Priority: got.Priority, CorrelationId: got.CorrelationId, ReplyTo: got.ReplyTo,
		Expiration: got.Expiration, MessageId: got.MessageId, Timestamp: got.Timestamp, Type: got.Type,
		UserId: got.UserId, AppId: got.AppId, Body: got.Body,
	}
	emit(map[string]any{"equal": reflect.DeepEqual(sent, back), "sent": fmt.Sprint(sent), "back": fmt.Sprint(back)})
	return nil
}

// transaction publishes and acks inside one; what is told is what waits before and after its end.
func transaction(connection *amqp.Connection, channel *amqp.Channel) error {
	if err := channel.Tx(); err != nil {
		return err
	}
	delivery, found, err := channel.Get(*queue, false)
	if err != nil || !found {
		return fmt.Errorf("no message: %w", err)
	}
	for number := 0; number < *count; number++ {
		message := amqp.Publishing{DeliveryMode: amqp.Persistent, Body: body(number)}
		if err := channel.PublishWithContext(context.Background(), "", *queue, false, false, message); err != nil {
			return err
		}
	}
	if err = delivery.Ack(false); err != nil {
		return err
	}
	before, err := channel.QueueDeclarePassive(*queue, true, false, false, false, nil)
	if err != nil {
		return err
	}
	end := channel.TxCommit
	if *transacted == "rollback" {
		end = channel.TxRollback
	}
	if err = end(); err != nil {
		return err
	}
	// What is not settled goes back when the channel closes.
	if err = channel.Close(); err != nil {
		return err
	}
	other, err := connection.Channel()
	if err != nil {
		return err
	}
	after, err := other.QueueDeclarePassive(*queue, true, false, false, false, nil)
	emit(map[string]any{"before": before.Messages, "after": after.Messages})
	return err
}
