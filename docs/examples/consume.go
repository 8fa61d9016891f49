// Publish two messages, receive and acknowledge them. Needs nothing but Go's standard library.
// Usage: go run consume.go HOST PORT
package main

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strconv"
	"strings"
)

type message struct {
	id      string
	payload []byte // nil is a null payload
}

type connection struct {
	net.Conn
	reader   *bufio.Reader
	messages []message // that came between answers
}

// read returns the next line; empty when it began a message, which is kept.
func (c *connection) read() (string, error) {
	line, err := c.reader.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimSuffix(line, "\n")
	if !strings.HasPrefix(line, "MSG ") {
		return line, nil
	}
	words := strings.Split(line, " ")
	m := message{id: words[1]}
	if words[3] != "-" {
		length, err := strconv.Atoi(words[3])
		if err != nil {
			return "", err
		}
		m.payload = make([]byte, length)
		if _, err := io.ReadFull(c.reader, m.payload); err != nil {
			return "", err
		}
	}
	if _, err := c.reader.Discard(1); err != nil { // the line end behind the payload
		return "", err
	}
	c.messages = append(c.messages, m)
	return "", nil
}

// ask sends a command, with the bytes that it announces, and returns what follows OK.
func (c *connection) ask(line string, body []byte) string {
	if _, err := c.Write(append([]byte(line+"\n"), body...)); err != nil {
		log.Fatal(err)
	}
	for {
		answer, err := c.read()
		if err != nil {
			log.Fatal(err)
		}
		kind, rest, _ := strings.Cut(answer, " ")
		switch kind {
		case "OK":
			return rest
		case "ERR":
			log.Fatal("refused: ", rest)
		}
	}
}

// next returns the next message.
func (c *connection) next() message {
	for len(c.messages) == 0 {
		if _, err := c.read(); err != nil {
			log.Fatal(err)
		}
	}
	m := c.messages[0]
	c.messages = c.messages[1:]
	return m
}

func main() {
	host, port := "127.0.0.1", "7672"
	if len(os.Args) == 3 {
		host, port = os.Args[1], os.Args[2]
	}
	sock, err := net.Dial("tcp", net.JoinHostPort(host, port))
	if err != nil {
		log.Fatal(err)
	}
	defer sock.Close()
	c := &connection{Conn: sock, reader: bufio.NewReader(sock)}

	fmt.Println("stored as", c.ask("PUBLISH orders two books", nil))
	payload := []byte("any bytes: \x00\n\xff")
	command := fmt.Sprintf("PUBLISHB orders %d key=customer-7 h.kind=note", len(payload))
	fmt.Println("stored as", c.ask(command, payload))

	c.ask("SUBSCRIBE orders example", nil)
	for number := 1; number <= 2; number++ {
		m := c.next()
		fmt.Printf("message %d: %q\n", number, m.payload)
		c.ask("ACK "+m.id, nil)
	}
	c.ask("QUIT", nil)
	fmt.Println("settled 2")
}
