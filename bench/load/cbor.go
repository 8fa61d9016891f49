package main

import (
	"encoding/binary"
	"errors"
)

// As much of CBOR as the protocol's frames use: no tags, no indefinite lengths.
const (
	majorUint  = 0
	majorBytes = 2
	majorText  = 3
	majorArray = 4
	majorMap   = 5
	majorTag   = 6
	null       = 0xf6
)

func appendHead(to []byte, major byte, n uint64) []byte {
	major <<= 5
	switch {
	case n < 24:
		return append(to, major|byte(n))
	case n < 1<<8:
		return append(to, major|24, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(to, major|25), uint16(n))
	case n < 1<<32:
		return binary.BigEndian.AppendUint32(append(to, major|26), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(to, major|27), n)
}

func appendText(to []byte, text string) []byte {
	return append(appendHead(to, majorText, uint64(len(text))), text...)
}

func appendBytes(to []byte, data []byte) []byte {
	return append(appendHead(to, majorBytes, uint64(len(data))), data...)
}

var errBroken = errors.New("the broker sent a frame that cannot be read")

// decoder reads values one after the other; the first thing that does not fit sets err.
type decoder struct {
	data []byte
	pos  int
	err  error
}

func (d *decoder) head() (byte, uint64) {
	if d.err != nil || d.pos >= len(d.data) {
		d.err = errBroken
		return 0, 0
	}
	first := d.data[d.pos]
	d.pos++
	major, small := first>>5, first&31
	if small < 24 {
		return major, uint64(small)
	}
	width := 1 << (small - 24)
	if small > 27 || d.pos+width > len(d.data) {
		d.err = errBroken
		return 0, 0
	}
	var n uint64
	for _, part := range d.data[d.pos : d.pos+width] {
		n = n<<8 | uint64(part)
	}
	d.pos += width
	return major, n
}

func (d *decoder) number(major byte) int {
	found, n := d.head()
	if found != major {
		d.err = errBroken
	}
	return int(n)
}

func (d *decoder) array() int { return d.number(majorArray) }

func (d *decoder) uint() int { return d.number(majorUint) }

func (d *decoder) text() string {
	n := d.number(majorText)
	if d.err != nil || n > len(d.data)-d.pos {
		d.err = errBroken
		return ""
	}
	d.pos += n
	return string(d.data[d.pos-n : d.pos])
}

// skip passes over one value, whatever it is.
func (d *decoder) skip() {
	for left := 1; left > 0 && d.err == nil; left-- {
		major, n := d.head()
		switch major {
		case majorBytes, majorText:
			if n > uint64(len(d.data)-d.pos) {
				d.err = errBroken
				return
			}
			d.pos += int(n)
		case majorArray:
			left += int(n)
		case majorMap:
			left += 2 * int(n)
		case majorTag:
			left++
		}
	}
}
