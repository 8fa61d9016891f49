package main

import (
	"context"
	"errors"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

func init() {
	commands["share"] = share
}

// owned is what the members of a group have been given, one set of partitions each.
type owned struct {
	sync.Mutex
	partitions []map[int32]bool
	changed    chan struct{}
}

func (o *owned) update(member int, has bool, partitions []int32) {
	o.Lock()
	for _, partition := range partitions {
		if has {
			o.partitions[member][partition] = true
		} else {
			delete(o.partitions[member], partition)
		}
	}
	o.Unlock()
	select {
	case o.changed <- struct{}{}:
	default:
	}
}

// sizes tells how many partitions each member has, and whether all of them have one member.
func (o *owned) sizes() (sizes []int, complete bool) {
	o.Lock()
	defer o.Unlock()
	together, sum := map[int32]bool{}, 0
	for _, partitions := range o.partitions {
		sizes = append(sizes, len(partitions))
		sum += len(partitions)
		for partition := range partitions {
			together[partition] = true
		}
	}
	return sizes, sum == *count && len(together) == *count
}

func (o *owned) wait(ctx context.Context, enough func(sizes []int) bool) error {
	for {
		if sizes, complete := o.sizes(); complete && enough(sizes) {
			emit(map[string]any{"partitions": sizes})
			return nil
		}
		select {
		case <-o.changed:
		case <-ctx.Done():
			return errors.New("the members did not share the topic")
		}
	}
}

// join starts a member that polls until it is closed; without cooperation it gives all up at every rebalance.
func (o *owned) join() (*kgo.Client, error) {
	member := len(o.partitions)
	o.Lock()
	o.partitions = append(o.partitions, map[int32]bool{})
	o.Unlock()
	change := func(has bool) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
			o.update(member, has, partitions[*topic])
		}
	}
	opts := append(options(), groupOptions()...)
	opts = append(opts, kgo.OnPartitionsAssigned(change(true)), kgo.OnPartitionsRevoked(change(false)))
	opts = append(opts, kgo.OnPartitionsLost(change(false)))
	if *value == "range" {
		opts = append(opts, kgo.Balancers(kgo.RangeBalancer()))
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, err
	}
	go func() {
		for !client.PollFetches(context.Background()).IsClientClosed() {
		}
	}()
	return client, nil
}

// share lets a member have all -count partitions, then two of them share, then one leave; prints what each had.
func share(ctx context.Context, _ *kgo.Client) error {
	o := &owned{changed: make(chan struct{}, 1)}
	first, err := o.join()
	if err != nil {
		return err
	}
	defer first.Close()
	if err := o.wait(ctx, func([]int) bool { return true }); err != nil {
		return err
	}
	second, err := o.join()
	if err != nil {
		return err
	}
	if err := o.wait(ctx, func(sizes []int) bool { return sizes[1] > 0 }); err != nil {
		second.Close()
		return err
	}
	second.Close()
	return o.wait(ctx, func(sizes []int) bool { return sizes[1] == 0 })
}
