package main

import (
	"fmt"
	"time"
)

const group = "load"

// consumer takes messages until it has seen all that it waits for and their acks are confirmed.
type consumer struct {
	peer        *peer
	topic       string
	prefetch    int
	messages    int
	delivered   int
	redelivered int
	bytes       int // of payloads
	acks        int // not confirmed yet
	firstAt     time.Time
	onMessage   func(offset int, at time.Time) // may be nil
}

func newConsumer(address, topic string, messages, prefetch int) (*consumer, error) {
	p, err := dial(address)
	if err != nil {
		return nil, err
	}
	return &consumer{peer: p, topic: topic, prefetch: prefetch, messages: messages}, nil
}

func (c *consumer) subscribe() error {
	return c.peer.ask(subscribeRequest(c.topic, c.prefetch))
}

type span struct{ partition, first, last int }

// run settles what one receive brought with one request for each run of offsets.
func (c *consumer) run() error {
	var runs []span
	var requests []byte
	for c.delivered < c.messages || c.acks > 0 {
		frame, err := c.peer.next()
		if err != nil {
			return fmt.Errorf("%w, after %d of %d messages and with %d acks unconfirmed",
				err, c.delivered, c.messages, c.acks)
		}
		now := time.Now()
		runs = runs[:0]
		for ; frame != nil; frame = c.peer.ready() {
			if runs, err = c.take(frame, now, runs); err != nil {
				return err
			}
		}
		requests = requests[:0]
		for _, run := range runs {
			start := len(requests)
			requests = appendText(appendText(begin(requests, 6, "ACK", 0), c.topic), group)
			requests = appendHead(requests, majorUint, uint64(run.partition))
			requests = appendHead(appendHead(requests, majorArray, 1), majorArray, 2)
			requests = appendHead(appendHead(requests, majorUint, uint64(run.first)), majorUint, uint64(run.last))
			requests = finish(requests, start)
		}
		if len(requests) > 0 {
			c.acks += len(runs)
			if _, err = c.peer.conn.Write(requests); err != nil {
				return err
			}
		}
	}
	return nil
}

// take reads one frame: a confirm of acks, or messages, which it adds to runs.
func (c *consumer) take(frame []byte, now time.Time, runs []span) ([]span, error) {
	d := decoder{data: frame}
	d.array()
	if word := d.text(); word != "MSG" {
		_, err := answer(frame)
		c.acks--
		return runs, err
	}
	if c.delivered == 0 {
		c.firstAt = now
	}
	d.skip()
	d.skip()
	partition := d.uint()
	for left := d.array(); left > 0 && d.err == nil; left-- {
		fields := d.array()
		offset := d.uint()
		if d.uint() > 0 {
			c.redelivered++
		}
		d.skip()
		size := d.number(majorBytes)
		c.bytes += size
		d.pos += size
		for ; fields > 4; fields-- {
			d.skip()
		}
		c.delivered++
		if c.onMessage != nil {
			c.onMessage(offset, now)
		}
		if end := len(runs) - 1; end >= 0 && runs[end].partition == partition && runs[end].last+1 == offset {
			runs[end].last = offset
		} else {
			runs = append(runs, span{partition, offset, offset})
		}
	}
	return runs, d.err
}
