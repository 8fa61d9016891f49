package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"
)

const (
	// A connection on which nothing comes for so long while something is expected has failed.
	patience     = 30 * time.Second
	receiveBytes = 256 << 10
	headerBytes  = 4
)

// peer is one connection in CBOR mode. One goroutine may send while another receives.
type peer struct {
	conn net.Conn
	data []byte // received; frames from pos on are not taken yet
	pos  int
	end  int
}

func dial(address string) (*peer, error) {
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return nil, err
	}
	p := &peer{conn: conn, data: make([]byte, receiveBytes)}
	if _, err = conn.Write([]byte("HELLO cbor name=load\n")); err != nil {
		return nil, err
	}
	line := []byte{}
	for len(line) == 0 || line[len(line)-1] != '\n' {
		if err = p.fill(); err != nil {
			return nil, err
		}
		line = append(line, p.data[p.pos:p.end]...)
		p.pos = p.end
	}
	if string(line[:2]) != "OK" {
		return nil, fmt.Errorf("the broker refused HELLO: %s", line)
	}
	return p, nil
}

// fill waits for more bytes.
func (p *peer) fill() error {
	if p.pos > 0 {
		p.end = copy(p.data, p.data[p.pos:p.end])
		p.pos = 0
	}
	if p.end == len(p.data) {
		p.data = append(p.data, make([]byte, len(p.data))...)
	}
	if err := p.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	n, err := p.conn.Read(p.data[p.end:])
	p.end += n
	if n > 0 {
		return nil
	}
	if err == io.EOF {
		return fmt.Errorf("the broker closed the connection; see its log")
	}
	return err
}

// ready returns the next whole frame's value if it has come; it is valid until the next fill.
func (p *peer) ready() []byte {
	if p.end-p.pos < headerBytes {
		return nil
	}
	start := p.pos + headerBytes
	end := start + int(binary.BigEndian.Uint32(p.data[p.pos:]))
	if end > p.end {
		return nil
	}
	p.pos = end
	return p.data[start:end]
}

// next waits for the next frame.
func (p *peer) next() ([]byte, error) {
	for {
		if frame := p.ready(); frame != nil {
			return frame, nil
		}
		if err := p.fill(); err != nil {
			return nil, err
		}
	}
}

// ask sends one request and waits for its answer.
func (p *peer) ask(request []byte) error {
	if _, err := p.conn.Write(request); err != nil {
		return err
	}
	frame, err := p.next()
	if err != nil {
		return err
	}
	_, err = answer(frame)
	return err
}

// answer returns the correlation of a frame that says OK, or the error that it tells.
func answer(frame []byte) (int, error) {
	d := decoder{data: frame}
	d.array()
	word := d.text()
	correlation := d.uint()
	if word == "OK" && d.err == nil {
		return correlation, nil
	}
	if word == "ERR" {
		return correlation, fmt.Errorf("the broker answered %s: %s", d.text(), d.text())
	}
	return correlation, fmt.Errorf("expected an answer, got %q", word)
}

// begin and finish write one frame into a buffer: its length is set when the value is complete.
func begin(to []byte, elements int, verb string, correlation int) []byte {
	to = append(to, 0, 0, 0, 0)
	to = appendText(appendHead(to, majorArray, uint64(elements)), verb)
	return appendHead(to, majorUint, uint64(correlation))
}

func finish(to []byte, start int) []byte {
	binary.BigEndian.PutUint32(to[start:], uint32(len(to)-start-headerBytes))
	return to
}

func subscribeRequest(topic string, prefetch int) []byte {
	b := begin(nil, 6, "SUBSCRIBE", 0)
	b = appendText(appendText(b, topic), group)
	b = appendText(appendHead(b, majorUint, uint64(prefetch)), "first")
	return finish(b, 0)
}
