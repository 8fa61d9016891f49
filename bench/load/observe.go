package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"os"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// observation is what the broker's process and its INFO say at one moment.
type observation struct {
	at      time.Time
	cpu     float64 // seconds, user and system, all threads
	own     float64 // of this process
	rss     int
	storage map[string]any
}

// observer looks at a broker; without a process number it looks only at INFO.
type observer struct {
	address string
	pid     int
}

const clockTicks = 100 // of /proc/PID/stat; the same on every Linux that Go runs on

func (o observer) look() (observation, error) {
	seen := observation{}
	var err error
	if seen.storage, err = o.storage(); err != nil {
		return seen, err
	}
	if o.pid > 0 {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", o.pid))
		if err != nil {
			return seen, err
		}
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+2:]))
		user, _ := strconv.ParseFloat(fields[11], 64)
		system, _ := strconv.ParseFloat(fields[12], 64)
		seen.cpu = (user + system) / clockTicks
		pages, _ := strconv.Atoi(fields[21])
		seen.rss = pages * os.Getpagesize()
	}
	var usage syscall.Rusage
	if err = syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return seen, err
	}
	seen.own = float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
	seen.at = time.Now()
	return seen, nil
}

// storage asks INFO in text mode, where its answer is a line of JSON.
func (o observer) storage() (map[string]any, error) {
	conn, err := net.DialTimeout("tcp", o.address, patience)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err = conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	if _, err = conn.Write([]byte("INFO\n")); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return nil, err
	}
	var info struct {
		Storage map[string]any `json:"storage"`
	}
	text, found := strings.CutPrefix(line, "OK ")
	if !found {
		return nil, fmt.Errorf("INFO was answered %q", line)
	}
	return info.Storage, json.Unmarshal([]byte(text), &info)
}

// compare says what the broker did between two observations.
func compare(before, after observation, messages int) map[string]any {
	seconds := after.at.Sub(before.at).Seconds()
	change := func(name string) float64 {
		from, _ := before.storage[name].(float64)
		to, _ := after.storage[name].(float64)
		return to - from
	}
	result := map[string]any{
		"cpu_s":              round(after.cpu-before.cpu, 3),
		"cpu_us_per_message": round((after.cpu-before.cpu)*1e6/float64(messages), 3),
		"rss_bytes_before":   before.rss,
		"rss_bytes":          after.rss,
		"rounds":             int(change("rounds")),
		"syncs":              int(change("syncs")),
		"syncs_per_s":        round(change("syncs")/seconds, 1),
		"written_bytes":      int(change("written_bytes")),
		"load_cpu_s":         round(after.own-before.own, 3),
	}
	if syncs := change("syncs"); syncs > 0 {
		result["sync_ms_mean"] = round(change("sync_seconds")*1000/syncs, 3)
	}
	return result
}

func round(value float64, digits int) float64 {
	scale := math.Pow(10, float64(digits))
	return math.Round(value*scale) / scale
}

// summary is the percentiles of samples in milliseconds.
func summary(samples []time.Duration) map[string]any {
	if len(samples) == 0 {
		return map[string]any{"count": 0}
	}
	sorted := append([]time.Duration(nil), samples...)
	sort.Slice(sorted, func(i, j int) bool { return sorted[i] < sorted[j] })
	at := func(share float64) float64 {
		index := int(math.Ceil(share*float64(len(sorted)))) - 1
		return round(sorted[max(index, 0)].Seconds()*1000, 3)
	}
	return map[string]any{
		"count": len(sorted), "p50": at(0.5), "p95": at(0.95), "p99": at(0.99), "p99.9": at(0.999), "max": at(1),
	}
}
