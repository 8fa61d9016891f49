// The franz-go client as a program: one command per process, results as JSON lines.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"
)

var (
	bootstrap   = flag.String("bootstrap", "127.0.0.1:9092", "host:port")
	topic       = flag.String("topic", "", "topic name")
	group       = flag.String("group", "", "group id")
	count       = flag.Int("count", 1, "number of records")
	partitions  = flag.Int("partitions", 1, "number of partitions")
	partition   = flag.Int("partition", 0, "partition")
	offset      = flag.Int64("offset", 0, "offset")
	millis      = flag.Int64("millis", 0, "timestamp in ms")
	codec       = flag.String("codec", "none", "none, gzip, snappy, lz4 or zstd")
	acks        = flag.String("acks", "all", "all, 1 or 0; other than all also turns idempotence off")
	name        = flag.String("name", "", "name of a config")
	value       = flag.String("value", "", "value of a config, metadata of an offset")
	minFetch    = flag.Int("min-fetch", -1, "lowest version of Fetch that will do")
	maxFetch    = flag.Int("max-fetch", -1, "highest version of Fetch to use")
	instance    = flag.String("instance", "", "group.instance.id of a static member")
	autoCreate  = flag.Bool("auto-create", false, "let the broker create topics")
	commands    = map[string]func(context.Context, *kgo.Client) error{}
	adminOnly   = map[string]func(context.Context, *kadm.Client) error{}
	output      = json.NewEncoder(os.Stdout)
	deadline    = 40 * time.Second
	compression = map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
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

func options() []kgo.Opt {
	opts := []kgo.Opt{
		kgo.SeedBrokers(*bootstrap),
		kgo.ProducerBatchCompression(compression[*codec]),
		kgo.RetryTimeout(10 * time.Second),
	}
	switch *acks {
	case "0":
		opts = append(opts, kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite())
	case "1":
		opts = append(opts, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
	}
	if *autoCreate {
		opts = append(opts, kgo.AllowAutoTopicCreation())
	}
	if *minFetch >= 0 {
		versions := &kversion.Versions{}
		versions.SetMaxKeyVersion(1, int16(*minFetch))
		opts = append(opts, kgo.MinVersions(versions))
	}
	if *maxFetch >= 0 {
		versions := kversion.Stable()
		versions.SetMaxKeyVersion(1, int16(*maxFetch))
		opts = append(opts, kgo.MaxVersions(versions))
	}
	return opts
}

func main() {
	if len(os.Args) < 2 {
		fail(fmt.Errorf("usage: franz COMMAND [FLAGS]"))
	}
	command := os.Args[1]
	if err := flag.CommandLine.Parse(os.Args[2:]); err != nil {
		fail(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	opts := options()
	if command == "group" {
		opts = append(opts, groupOptions()...)
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		fail(err)
	}
	if run, ok := commands[command]; ok {
		err = run(ctx, client)
	} else if run, ok := adminOnly[command]; ok {
		err = run(ctx, kadm.NewClient(client))
	} else {
		err = fmt.Errorf("no command %q", command)
	}
	client.Close()
	if err != nil {
		fail(err)
	}
}
