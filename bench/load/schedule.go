package main

import (
	"fmt"
	"math/rand"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// paced publishes single messages at moments that are fixed beforehand. A latency counts from the
// moment at which its message was due, so a late answer that delays the next message delays its count too
// (no coordinated omission). How late the messages really went is kept beside.
type paced struct {
	peers    []*peer
	requests [][]byte // one for each message, for peer number%len(peers)
	interval time.Duration
	due      []time.Time
	late     []time.Duration
	confirms []time.Duration
}

// newPaced makes requests for messages that go round the topics, and the topics round the connections.
func newPaced(address string, topics []string, connections, messages, size int, rate float64) (*paced, error) {
	p := &paced{
		requests: make([][]byte, messages), interval: time.Duration(float64(time.Second) / rate),
		due: make([]time.Time, messages), late: make([]time.Duration, messages), confirms: make([]time.Duration, messages),
	}
	if len(topics)%connections != 0 {
		return nil, fmt.Errorf("%d topics do not divide among %d connections", len(topics), connections)
	}
	source := rand.New(rand.NewSource(1))
	for number := range p.requests {
		request := begin(nil, 4, "PUBLISH", number)
		request = appendText(request, topics[number%len(topics)])
		request = appendBytes(appendHead(request, majorArray, 1), payload(source, number, size))
		p.requests[number] = finish(request, 0)
	}
	for len(p.peers) < connections {
		one, err := dial(address)
		if err != nil {
			return nil, err
		}
		p.peers = append(p.peers, one)
	}
	return p, nil
}

// run returns when every message is confirmed.
func (p *paced) run() error {
	start := time.Now().Add(100 * time.Millisecond)
	for number := range p.due {
		p.due[number] = start.Add(time.Duration(number) * p.interval)
	}
	failed := make(chan error, len(p.peers)+1)
	var group sync.WaitGroup
	for index := range p.peers {
		group.Add(1)
		go func(index int) {
			defer group.Done()
			if err := p.receive(index); err != nil {
				failed <- err
			}
		}(index)
	}
	go func() {
		if err := p.send(); err != nil {
			failed <- err
		}
		group.Wait()
		close(failed)
	}()
	return <-failed
}

func (p *paced) send() error {
	return atMoments(len(p.requests), func(number int) time.Time { return p.due[number] },
		func(number int, due time.Time) error {
			p.late[number] = time.Since(due)
			_, err := p.peers[number%len(p.peers)].conn.Write(p.requests[number])
			return err
		})
}

// atMoments calls send for each of count numbers when it is due, or as soon after as it can.
func atMoments(count int, dueAt func(int) time.Time, send func(int, time.Time) error) error {
	// A thread of its own and nanosleep: the runtime's timers may be a millisecond late.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for number := 0; number < count; number++ {
		due := dueAt(number)
		for left := time.Until(due); left > 0; left = time.Until(due) {
			wait := syscall.NsecToTimespec(left.Nanoseconds())
			if err := syscall.Nanosleep(&wait, nil); err != nil && err != syscall.EINTR {
				return err
			}
		}
		if err := send(number, due); err != nil {
			return err
		}
	}
	return nil
}

func (p *paced) receive(index int) error {
	for number := index; number < len(p.requests); {
		frame, err := p.peers[index].next()
		if err != nil {
			return err
		}
		now := time.Now()
		for ; frame != nil; frame = p.peers[index].ready() {
			correlation, err := answer(frame)
			if err != nil {
				return err
			}
			if correlation != number {
				return fmt.Errorf("answer %d came in the place of %d", correlation, number)
			}
			p.confirms[number] = now.Sub(p.due[number])
			number += len(p.peers)
		}
	}
	return nil
}
