// The Sarama client as a program: one command per process, results as JSON lines.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/IBM/sarama"
)

var (
	bootstrap  = flag.String("bootstrap", "127.0.0.1:9092", "host:port")
	topic      = flag.String("topic", "", "topic name")
	group      = flag.String("group", "", "group id")
	count      = flag.Int("count", 1, "number of records")
	partitions = flag.Int("partitions", 1, "number of partitions")
	partition  = flag.Int("partition", 0, "partition")
	offset     = flag.Int64("offset", 0, "offset")
	codec      = flag.String("codec", "none", "none, gzip, snappy, lz4 or zstd")
	idempotent = flag.Bool("idempotent", false, "produce with a producer id")
	version    = flag.String("version", "default", "default or max: the version of Kafka to speak to")
	name       = flag.String("name", "", "name of a config")
	value      = flag.String("value", "", "value of a config")
	output     = json.NewEncoder(os.Stdout)
	commands   = map[string]func(*sarama.Config) error{}
	adminOnly  = map[string]func(sarama.ClusterAdmin) error{}
	deadline   = 40 * time.Second
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

func config() (*sarama.Config, error) {
	config := sarama.NewConfig()
	if *version == "max" {
		config.Version = sarama.MaxVersion
	}
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Return.Successes = true
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	if *idempotent {
		config.Producer.Idempotent = true
		config.Net.MaxOpenRequests = 1
	}
	return config, config.Producer.Compression.UnmarshalText([]byte(*codec))
}

func main() {
	if len(os.Args) < 2 {
		fail(fmt.Errorf("usage: sarama COMMAND [FLAGS]"))
	}
	command := os.Args[1]
	if err := flag.CommandLine.Parse(os.Args[2:]); err != nil {
		fail(err)
	}
	time.AfterFunc(deadline, func() { fail(fmt.Errorf("%s took longer than %s", command, deadline)) })
	config, err := config()
	if err != nil {
		fail(err)
	}
	if run, ok := commands[command]; ok {
		err = run(config)
	} else if run, ok := adminOnly[command]; ok {
		err = administer(config, run)
	} else {
		err = fmt.Errorf("no command %q", command)
	}
	if err != nil {
		fail(err)
	}
}

func administer(config *sarama.Config, run func(sarama.ClusterAdmin) error) error {
	admin, err := sarama.NewClusterAdmin([]string{*bootstrap}, config)
	if err != nil {
		return err
	}
	if err := run(admin); err != nil {
		return err
	}
	return admin.Close()
}
