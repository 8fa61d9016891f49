package main

import (
	"fmt"
	"math/rand"
	"strings"
)

var levels = []string{"INFO", "WARN", "ERROR"}

// payload is a log line in JSON as services write them, part template, part random, of exactly size
// bytes from 90 on. zstd level 1 brings a hundred of them with 100 bytes each to a fifth.
func payload(source *rand.Rand, number, size int) []byte {
	line := fmt.Sprintf(`{"at":%d,"level":"%s","svc":"checkout-%d","user":%d,"ms":%d,"trace":"`,
		1763892000000+7*number, levels[source.Intn(len(levels))], source.Intn(8),
		100_000+source.Intn(900_000), 100+source.Intn(900))
	trace := size - len(line) - 2
	for ; trace > 16; trace = size - len(line) - 2 {
		field := fmt.Sprintf(`%08x","item":"SKU-%06d in stock`, source.Uint32(), source.Intn(1_000_000))
		line += field[:min(len(field), trace-4)]
		if trace-4 < len(field) {
			line += strings.Repeat(" ", 4)
			break
		}
	}
	if trace = size - len(line) - 2; trace > 0 {
		line += fmt.Sprintf("%016x", source.Uint64())[:trace]
	}
	return []byte(line + `"}`)
}

// frames are PUBLISH requests, encoded before the clock starts, one after the other in one buffer.
type frames struct {
	data     []byte
	ends     []int // of each frame in data
	messages int
}

func makeFrames(topic string, messages, size, batch int, seed int64) frames {
	source := rand.New(rand.NewSource(seed))
	total := (messages + batch - 1) / batch
	made := frames{make([]byte, 0, messages*(size+2)+total*(len(topic)+32)), make([]int, 0, total), messages}
	for first := 0; first < messages; first += batch {
		count := min(batch, messages-first)
		start := len(made.data)
		made.data = begin(made.data, 4, "PUBLISH", len(made.ends))
		made.data = appendHead(appendText(made.data, topic), majorArray, uint64(count))
		for number := first; number < first+count; number++ {
			made.data = appendBytes(made.data, payload(source, number, size))
		}
		made.data = finish(made.data, start)
		made.ends = append(made.ends, len(made.data))
	}
	return made
}

// span is the bytes of the frames from first to before stop.
func (f *frames) span(first, stop int) []byte {
	start := 0
	if first > 0 {
		start = f.ends[first-1]
	}
	return f.data[start:f.ends[stop-1]]
}
