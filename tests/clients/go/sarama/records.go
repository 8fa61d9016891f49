package main

import (
	"context"
	"strconv"

	"github.com/IBM/sarama"
)

func init() {
	commands["produce"] = produce
	commands["produce-async"] = produceAsync
	commands["consume"] = consume
	commands["group"] = consumeInGroup
}

func message(number int) *sarama.ProducerMessage {
	return &sarama.ProducerMessage{
		Topic:   *topic,
		Key:     sarama.StringEncoder("key " + strconv.Itoa(number)),
		Value:   sarama.StringEncoder("value " + strconv.Itoa(number)),
		Headers: []sarama.RecordHeader{{Key: []byte("number"), Value: []byte(strconv.Itoa(number))}},
	}
}

// produce sends the records "value 0" and so on one by one, and prints where each went.
func produce(config *sarama.Config) error {
	producer, err := sarama.NewSyncProducer([]string{*bootstrap}, config)
	if err != nil {
		return err
	}
	for number := range *count {
		partition, offset, err := producer.SendMessage(message(number))
		if err != nil {
			return err
		}
		emit(map[string]any{"partition": partition, "offset": offset})
	}
	return producer.Close()
}

// produceAsync hands all records over before it looks at the first answer.
func produceAsync(config *sarama.Config) error {
	producer, err := sarama.NewAsyncProducer([]string{*bootstrap}, config)
	if err != nil {
		return err
	}
	go func() {
		for number := range *count {
			producer.Input() <- message(number)
		}
	}()
	for range *count {
		select {
		case sent := <-producer.Successes():
			emit(map[string]any{"partition": sent.Partition, "offset": sent.Offset})
		case failed := <-producer.Errors():
			return failed
		}
	}
	return producer.Close()
}

func show(got *sarama.ConsumerMessage) {
	headers := map[string]string{}
	for _, header := range got.Headers {
		headers[string(header.Key)] = string(header.Value)
	}
	emit(map[string]any{
		"partition": got.Partition, "offset": got.Offset, "key": string(got.Key), "value": string(got.Value),
		"headers": headers,
	})
}

// consume prints records of one partition from an offset on.
func consume(config *sarama.Config) error {
	config.Consumer.Return.Errors = true
	consumer, err := sarama.NewConsumer([]string{*bootstrap}, config)
	if err != nil {
		return err
	}
	reader, err := consumer.ConsumePartition(*topic, int32(*partition), *offset)
	if err != nil {
		return err
	}
	for range *count {
		select {
		case got := <-reader.Messages():
			show(got)
		case failed := <-reader.Errors():
			return failed
		}
	}
	if err := reader.Close(); err != nil {
		return err
	}
	return consumer.Close()
}

// member is what Sarama calls during a generation.
type member struct {
	left chan struct{}
	stop context.CancelFunc
}

func (m *member) Setup(session sarama.ConsumerGroupSession) error {
	return nil
}

func (m *member) Cleanup(session sarama.ConsumerGroupSession) error {
	return nil
}

func (m *member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case <-session.Context().Done():
			return nil
		case got, more := <-claim.Messages():
			if !more {
				return nil
			}
			select {
			case m.left <- struct{}{}:
				show(got)
				session.MarkMessage(got, "")
			default:
				return nil
			}
			if len(m.left) == cap(m.left) {
				m.stop()
			}
		}
	}
}

// consumeInGroup prints records that the group has not read yet, commits behind them and leaves.
func consumeInGroup(config *sarama.Config) error {
	consumer, err := sarama.NewConsumerGroup([]string{*bootstrap}, *group, config)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	m := &member{left: make(chan struct{}, *count), stop: stop}
	for ctx.Err() == nil {
		if err := consumer.Consume(ctx, []string{*topic}, m); err != nil {
			return err
		}
	}
	return consumer.Close()
}
