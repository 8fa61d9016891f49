// The kafka-go client as a program: one command per process, results as JSON lines.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/segmentio/kafka-go"
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
	output     = json.NewEncoder(os.Stdout)
	commands   = map[string]func(context.Context) error{}
	onConn     = map[string]func(*kafka.Conn) error{}
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

func compression() kafka.Compression {
	var compression kafka.Compression
	if *codec != "none" {
		if err := compression.UnmarshalText([]byte(*codec)); err != nil {
			fail(err)
		}
	}
	return compression
}

func main() {
	if len(os.Args) < 2 {
		fail(fmt.Errorf("usage: kafkago COMMAND [FLAGS]"))
	}
	command := os.Args[1]
	if err := flag.CommandLine.Parse(os.Args[2:]); err != nil {
		fail(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	var err error
	if run, ok := commands[command]; ok {
		err = run(ctx)
	} else if run, ok := onConn[command]; ok {
		err = dial(ctx, run)
	} else {
		err = fmt.Errorf("no command %q", command)
	}
	if err != nil {
		fail(err)
	}
}

// dial runs a command on a connection of its own, to the leader of the partition where a topic is named.
func dial(ctx context.Context, run func(*kafka.Conn) error) error {
	var conn *kafka.Conn
	var err error
	if *topic == "" {
		conn, err = kafka.DialContext(ctx, "tcp", *bootstrap)
	} else {
		conn, err = kafka.DialLeader(ctx, "tcp", *bootstrap, *topic, *partition)
	}
	if err != nil {
		return err
	}
	if err := conn.SetDeadline(time.Now().Add(deadline)); err != nil {
		return err
	}
	if err := run(conn); err != nil {
		return err
	}
	return conn.Close()
}
