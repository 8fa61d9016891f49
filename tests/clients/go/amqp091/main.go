// The amqp091-go client as a program: one command per process, results as JSON lines.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

var (
	bootstrap  = flag.String("bootstrap", "127.0.0.1:5672", "host:port")
	queue      = flag.String("queue", "", "queue name")
	exchange   = flag.String("exchange", "", "exchange name")
	key        = flag.String("key", "", "routing key")
	kind       = flag.String("kind", "direct", "type of an exchange")
	count      = flag.Int("count", 1, "number of messages")
	size       = flag.Int("size", 0, "bytes of a body; 0 for a short text")
	prefetch   = flag.Int("prefetch", 0, "messages unsettled at a time")
	multiple   = flag.Bool("multiple", false, "one ack for several messages")
	argument   = flag.String("argument", "", "x-argument of a queue, name=value")
	transacted = flag.String("end", "commit", "how a transaction ends: commit or rollback")
	commands   = map[string]func(*amqp.Connection, *amqp.Channel) error{}
	output     = json.NewEncoder(os.Stdout)
)

const patience = 20 * time.Second

func emit(fields map[string]any) {
	if err := output.Encode(fields); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func address() string {
	return "amqp://guest:guest@" + *bootstrap + "/"
}

// within is what comes from a channel of Go, unless it comes too late.
func within[T any](from <-chan T, what string) (T, error) {
	select {
	case value, open := <-from:
		if !open {
			return value, fmt.Errorf("%s: the channel was closed", what)
		}
		return value, nil
	case <-time.After(patience):
		var none T
		return none, fmt.Errorf("%s did not come within %v", what, patience)
	}
}

func main() {
	if len(os.Args) < 2 {
		fail(fmt.Errorf("usage: amqp091 COMMAND [FLAGS]"))
	}
	run, found := commands[os.Args[1]]
	if !found {
		fail(fmt.Errorf("no command %q", os.Args[1]))
	}
	if err := flag.CommandLine.Parse(os.Args[2:]); err != nil {
		fail(err)
	}
	settings := amqp.Config{Locale: "en_US"}
	if os.Args[1] == "recover" {
		retry := &amqp.ReconnectionConfig{MaxRetryCount: 400, RetryInterval: 50 * time.Millisecond}
		settings.Recovery = &amqp.Recovery{ReconnectionConfig: retry}
	}
	connection, err := amqp.DialConfig(address(), settings)
	if err != nil {
		fail(err)
	}
	channel, err := connection.Channel()
	if err != nil {
		fail(err)
	}
	if err := run(connection, channel); err != nil {
		fail(err)
	}
	if err := connection.Close(); err != nil {
		fail(err)
	}
}
