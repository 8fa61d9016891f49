// Load for a Portask broker over its own protocol in CBOR mode, and for any broker over Kafka's or AMQP 0-9-1: one
// JSON object on standard output.
//
// It is a program of its own, compiled, because on a small machine every microsecond that the load takes is
// one that the broker does not get. Payloads and frames are made before the clock starts.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"
)

type options struct {
	observer
	kafkaOptions
	amqpOptions
	topic       string
	messages    int
	size        int
	batch       int
	window      int
	prefetch    int
	connections int
	rate        float64
	seconds     int
	topics      int
	seed        int64
}

var commands = map[string]func(options) (map[string]any, error){
	"publish": publish, "consume": consume, "both": both, "latency": latency, "topics": topics,
	"kafka-produce": kafkaProduce, "kafka-consume": kafkaConsume, "kafka-both": kafkaBoth,
	"kafka-latency": kafkaLatency, "kafka-ready": kafkaReady, "kafka-delete": kafkaDelete,
	"amqp-declare": amqpDeclare, "amqp-delete": amqpDelete, "amqp-publish": amqpPublish, "amqp-consume": amqpConsume,
	"amqp-both": amqpBoth, "amqp-latency": amqpLatency, "amqp-ready": amqpReady, "amqp-alive": amqpAlive,
	"amqp-idle": amqpIdle,
}

func main() {
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: load publish|consume|both|latency|topics [-address HOST:PORT] [flags]\n"+
			"       load kafka-produce|consume|both|latency|ready|delete -kafka HOST:PORT [flags]\n"+
			"       load amqp-declare|delete|publish|consume|both|latency|ready|alive|idle -amqp HOST:PORT [flags]; -h lists them")
		os.Exit(2)
	}
	o := options{}
	set := flag.NewFlagSet("load "+os.Args[1], flag.ExitOnError)
	set.StringVar(&o.address, "address", "127.0.0.1:7672", "the broker; empty where it is not one of Portask's")
	set.IntVar(&o.pid, "pid", 0, "the broker's process, for its CPU and memory and those of its children")
	set.StringVar(&o.topic, "topic", "load", "topic, or what topics' names begin with")
	set.IntVar(&o.messages, "n", 1_000_000, "messages")
	set.IntVar(&o.size, "size", 100, "bytes of a payload")
	set.IntVar(&o.batch, "batch", 100, "messages in one frame")
	set.IntVar(&o.window, "window", 100, "frames unconfirmed at a time, for each connection")
	set.IntVar(&o.prefetch, "prefetch", 10_000, "messages unsettled at a time")
	set.IntVar(&o.connections, "connections", 1, "publishing connections")
	set.Float64Var(&o.rate, "rate", 1000, "latency: messages a second")
	set.IntVar(&o.seconds, "seconds", 10, "latency, topics: how long")
	set.IntVar(&o.topics, "topics", 2000, "topics: how many, each of them getting one message a second")
	set.StringVar(&o.kafka, "kafka", "127.0.0.1:9092", "kafka: the broker")
	set.IntVar(&o.partitions, "partitions", 1, "kafka: of the topic, which is made if it is not there")
	set.IntVar(&o.producers, "producers", 1, "kafka, amqp: producing clients")
	set.IntVar(&o.consumers, "consumers", 1, "kafka, amqp: consuming clients")
	set.StringVar(&o.codec, "codec", "none", "kafka: none, gzip, snappy, lz4 or zstd, of the producers")
	set.StringVar(&o.group, "group", "", "kafka: group of the consumers; needed for more than one")
	set.DurationVar(&o.linger, "linger", 10*time.Millisecond, "kafka: how long a producer gathers records")
	set.BoolVar(&o.idempotent, "idempotent", false, "kafka: producers number their batches")
	set.BoolVar(&o.keyed, "keyed", false, "kafka: records have keys, which choose their partitions")
	set.StringVar(&o.amqp, "amqp", "127.0.0.1:5672", "amqp: the broker")
	set.StringVar(&o.topology, "topology", "queues", "amqp: queues, fanout or topic")
	set.IntVar(&o.queues, "queues", 1, "amqp: how many, each with one consumer")
	set.IntVar(&o.bindings, "bindings", 1, "amqp: of a topic exchange")
	set.BoolVar(&o.transient, "transient", false, "amqp: messages are not persistent")
	set.BoolVar(&o.confirm, "confirm", false, "amqp: publishers wait for confirms")
	set.BoolVar(&o.autoAck, "auto-ack", false, "amqp: consumers do not acknowledge")
	set.BoolVar(&o.volatile, "volatile", false, "amqp: queues are not durable")
	set.BoolVar(&o.channels, "channels", false, "amqp: idle connections have a channel each")
	set.Int64Var(&o.seed, "seed", 1, "of the random part of payloads")
	_ = set.Parse(os.Args[2:])
	for _, value := range []int{
		o.messages, o.size, o.batch, o.window, o.connections, o.seconds, o.topics,
		o.partitions, o.producers, o.consumers, o.queues, o.bindings,
	} {
		if value < 1 {
			fmt.Fprintln(os.Stderr, "load: every number must be at least 1")
			os.Exit(2)
		}
	}
	result, err := commands[os.Args[1]](o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
	_ = json.NewEncoder(os.Stdout).Encode(result)
}

// measure runs all of the tasks at the same time and says what the broker did meanwhile.
func measure(o options, messages int, tasks ...func() error) (map[string]any, error) {
	before, err := o.look()
	if err != nil {
		return nil, err
	}
	done := make(chan error, len(tasks))
	for _, task := range tasks {
		go func(task func() error) { done <- task() }(task)
	}
	for range tasks {
		if err := <-done; err != nil {
			return nil, err
		}
	}
	ended := time.Now()
	after, err := o.look()
	if err != nil {
		return nil, err
	}
	seconds := ended.Sub(before.at).Seconds()
	return map[string]any{
		"messages": messages, "payload_bytes": o.size, "seconds": round(seconds, 3),
		"messages_per_s": round(float64(messages)/seconds, 0), "broker": compare(before, after, messages),
	}, nil
}

func makePublishers(o options) ([]*publisher, []func() error, error) {
	publishers, tasks := []*publisher{}, []func() error{}
	share := o.messages / o.connections
	for number := 0; number < o.connections; number++ {
		count := share
		if number == 0 {
			count += o.messages % o.connections
		}
		one, err := newPublisher(o.address, o.topic, count, o.size, o.batch, o.window, o.seed+int64(number))
		if err != nil {
			return nil, nil, err
		}
		publishers, tasks = append(publishers, one), append(tasks, one.run)
	}
	// The topic is made before the clock starts.
	first := makeFrames(o.topic, 1, o.size, 1, o.seed-1)
	return publishers, tasks, publishers[0].peer.ask(first.data)
}

func addConfirms(result map[string]any, o options, publishers []*publisher) {
	samples := []time.Duration{}
	for _, one := range publishers {
		samples = append(samples, one.confirms...)
	}
	result["confirm_ms"] = summary(samples)
	result["batch"], result["window"], result["connections"] = o.batch, o.window, o.connections
}

func publish(o options) (map[string]any, error) {
	publishers, tasks, err := makePublishers(o)
	if err != nil {
		return nil, err
	}
	result, err := measure(o, o.messages, tasks...)
	if err == nil {
		addConfirms(result, o, publishers)
	}
	return result, err
}

func addDelivery(result map[string]any, c *consumer, started time.Time) {
	result["delivered"], result["redelivered"], result["prefetch"] = c.delivered, c.redelivered, c.prefetch
	result["delivered_bytes"] = c.bytes
	result["first_delivery_ms"] = round(c.firstAt.Sub(started).Seconds()*1000, 3)
}

func consume(o options) (map[string]any, error) {
	c, err := newConsumer(o.address, o.topic, o.messages, o.prefetch)
	if err != nil {
		return nil, err
	}
	started := time.Now()
	result, err := measure(o, o.messages, func() error {
		if err := c.subscribe(); err != nil {
			return err
		}
		return c.run()
	})
	if err == nil {
		addDelivery(result, c, started)
	}
	return result, err
}

func both(o options) (map[string]any, error) {
	publishers, tasks, err := makePublishers(o)
	if err != nil {
		return nil, err
	}
	// One more than is published now: the message with which the topic was made.
	c, err := newConsumer(o.address, o.topic, o.messages+1, o.prefetch)
	if err == nil {
		err = c.subscribe()
	}
	if err != nil {
		return nil, err
	}
	started := time.Now()
	result, err := measure(o, o.messages, append(tasks, c.run)...)
	if err == nil {
		addConfirms(result, o, publishers)
		addDelivery(result, c, started)
	}
	return result, err
}

func latency(o options) (map[string]any, error) {
	messages := int(o.rate * float64(o.seconds))
	p, err := newPaced(o.address, []string{o.topic}, 1, messages, o.size, o.rate)
	if err != nil {
		return nil, err
	}
	first := makeFrames(o.topic, 1, o.size, 1, o.seed-1)
	if err = p.peers[0].ask(first.data); err != nil {
		return nil, err
	}
	c, err := newConsumer(o.address, o.topic, messages+1, o.prefetch)
	if err == nil {
		err = c.subscribe()
	}
	if err != nil {
		return nil, err
	}
	// The topic is new and has one partition, so the offsets of what follows the first message count up from 1.
	deliveries := make([]time.Duration, messages)
	c.onMessage = func(offset int, at time.Time) {
		if offset >= 1 && offset <= messages {
			deliveries[offset-1] = at.Sub(p.due[offset-1])
		}
	}
	result, err := measure(o, messages, p.run, c.run)
	if err == nil {
		result["rate"], result["redelivered"] = o.rate, c.redelivered
		result["confirm_ms"], result["delivery_ms"] = summary(p.confirms), summary(deliveries)
		result["late_ms"] = summary(p.late)
	}
	return result, err
}

func topics(o options) (map[string]any, error) {
	names := make([]string, o.topics)
	for number := range names {
		names[number] = fmt.Sprintf("%s-%d", o.topic, number)
	}
	messages := o.topics * o.seconds
	p, err := newPaced(o.address, names, o.connections, messages, o.size, float64(o.topics))
	if err != nil {
		return nil, err
	}
	started := time.Now()
	for _, name := range names {
		first := makeFrames(name, 1, o.size, 1, o.seed-1)
		if err = p.peers[0].ask(first.data); err != nil {
			return nil, err
		}
	}
	created := time.Since(started)
	result, err := measure(o, messages, p.run)
	if err == nil {
		result["topics"], result["connections"] = o.topics, o.connections
		result["create_ms_each"] = round(created.Seconds()*1000/float64(o.topics), 3)
		result["confirm_ms"], result["late_ms"] = summary(p.confirms), summary(p.late)
	}
	return result, err
}
