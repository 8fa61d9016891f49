package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
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

// observer looks at a broker: at its processes if it has their number, at INFO if it has an address.
type observer struct {
	address string
	pid     int
}

const clockTicks = 100 // of /proc/PID/stat; the same on every Linux that Go runs on

func (o observer) look() (observation, error) {
	seen := observation{}
	var err error
	if o.address != "" {
		if seen.storage, err = o.storage(); err != nil {
			return seen, err
		}
	}
	if o.pid > 0 {
		if seen.cpu, seen.rss, err = processTree(o.pid); err != nil {
			return seen, err
		}
	}
	var usage syscall.Rusage
	if err = syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return seen, err
	}
	seen.own = float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
	seen.at = time.Now()
	return seen, nil
}

// processTree is the CPU seconds and the resident bytes of a process and of all below it.
func processTree(root int) (cpu float64, rss int, err error) {
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, 0, err
	}
	fields, children := map[int][]string{}, map[int][]int{}
	for _, path := range paths {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended meanwhile
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		fields[pid] = strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+2:]))
		parent, _ := strconv.Atoi(fields[pid][1])
		children[parent] = append(children[parent], pid)
	}
	if fields[root] == nil {
		return 0, 0, fmt.Errorf("process %d has ended", root)
	}
	for left := []int{root}; len(left) > 0; left = left[1:] {
		of := fields[left[0]]
		user, _ := strconv.ParseFloat(of[11], 64)
		system, _ := strconv.ParseFloat(of[12], 64)
		pages, _ := strconv.Atoi(of[21])
		cpu, rss = cpu+(user+system)/clockTicks, rss+pages*os.Getpagesize()
		left = append(left, children[left[0]]...)
	}
	return cpu, rss, nil
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
		"load_cpu_s":         round(after.own-before.own, 3),
	}
	if after.storage == nil {
		return result
	}
	for _, name := range []string{"rounds", "syncs", "written_bytes"} {
		result[name] = int(change(name))
	}
	result["syncs_per_s"] = round(change("syncs")/seconds, 1)
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
