package main

import (
	"fmt"
	"sync/atomic"
	"time"
)

// A send takes at most so many bytes, so that the first frames of a window are under way while the rest follows.
const sendBytes = 256 << 10

// publisher sends its frames, at most window of them unconfirmed at a time.
type publisher struct {
	peer      *peer
	frames    frames
	window    int
	sent      []time.Time // when each frame went
	confirmed atomic.Int64
	confirms  []time.Duration // from a frame's sending to its confirm
	more      chan struct{}
}

func newPublisher(address, topic string, messages, size, batch, window int, seed int64) (*publisher, error) {
	p, err := dial(address)
	if err != nil {
		return nil, err
	}
	made := makeFrames(topic, messages, size, batch, seed)
	count := len(made.ends)
	return &publisher{
		peer: p, frames: made, window: window, sent: make([]time.Time, count),
		confirms: make([]time.Duration, 0, count), more: make(chan struct{}, 1),
	}, nil
}

// run returns when everything is confirmed.
func (p *publisher) run() error {
	failed := make(chan error, 2)
	go func() { failed <- p.receive() }()
	go func() { failed <- p.send() }()
	for i := 0; i < 2; i++ {
		if err := <-failed; err != nil {
			return err
		}
	}
	return nil
}

func (p *publisher) send() error {
	total := len(p.frames.ends)
	for next := 0; next < total; {
		stop := min(total, int(p.confirmed.Load())+p.window)
		if stop == next {
			<-p.more
			continue
		}
		for stop > next+1 && len(p.frames.span(next, stop)) > sendBytes {
			stop = next + (stop-next+1)/2
		}
		now := time.Now()
		for frame := next; frame < stop; frame++ {
			p.sent[frame] = now
		}
		if _, err := p.peer.conn.Write(p.frames.span(next, stop)); err != nil {
			return err
		}
		next = stop
	}
	return nil
}

func (p *publisher) receive() error {
	for total := len(p.frames.ends); len(p.confirms) < total; {
		frame, err := p.peer.next()
		if err != nil {
			return err
		}
		now := time.Now()
		for ; frame != nil; frame = p.peer.ready() {
			correlation, err := answer(frame)
			if err != nil {
				return err
			}
			if correlation != len(p.confirms) {
				return fmt.Errorf("answer %d came in the place of %d", correlation, len(p.confirms))
			}
			p.confirms = append(p.confirms, now.Sub(p.sent[correlation]))
		}
		p.confirmed.Store(int64(len(p.confirms)))
		select {
		case p.more <- struct{}{}:
		default:
		}
	}
	return nil
}
