package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"sort"
	"strconv"
	"strings"
	"sync"
)

// dlq holds the entries of one token. An entry is a position: the order in which it was added and in which cursors walk.
// Everything else is derived from the position, or held in a few bytes, so that ten million entries fit into some
// hundred megabytes.
type dlq struct {
	token    string
	mu       sync.Mutex
	failedAt []int64 // ms
	shapeOf  []uint32
	gone     []uint64 // a bit for each
	shapes   []shape
	all      index
	byLabel  map[string]*index
	live     int
	unsorted bool // some entry failed before the one that was added before it
}

func newDLQ(token string) *dlq {
	return &dlq{token: token, all: index{whole: true}, byLabel: map[string]*index{}}
}

// index lists positions in ascending order: those that have a label, or all of them.
type index struct {
	whole bool
	seqs  []int32
	head  int // everything before it is gone, so that a drain stays as fast as it began
}

func (ix *index) len(d *dlq) int {
	if ix.whole {
		return len(d.failedAt)
	}
	return len(ix.seqs)
}

func (ix *index) at(i int) int32 {
	if ix.whole {
		return int32(i)
	}
	return ix.seqs[i]
}

// start finds the first place after the cursor, past what is gone and, where times ascend, past what failed too early.
func (ix *index) start(d *dlq, after, from int64) int {
	for ix.head < ix.len(d) && d.isGone(ix.at(ix.head)) {
		ix.head++
	}
	pos := ix.head
	if after >= 0 {
		pos = max(pos, sort.Search(ix.len(d), func(i int) bool { return int64(ix.at(i)) > after }))
	}
	if from != 0 && !d.unsorted {
		pos = max(pos, sort.Search(ix.len(d), func(i int) bool { return d.failedAt[ix.at(i)] >= from }))
	}
	return pos
}

func (d *dlq) isGone(seq int32) bool { return d.gone[seq/64]&(1<<(seq%64)) != 0 }

func (d *dlq) addShape(s shape) uint32 {
	d.shapes = append(d.shapes, s)
	return uint32(len(d.shapes) - 1)
}

// add appends an entry; the caller holds mu.
func (d *dlq) add(failedAt int64, shape uint32) {
	seq := int32(len(d.failedAt))
	if seq > 0 && failedAt < d.failedAt[seq-1] {
		d.unsorted = true
	}
	d.failedAt = append(d.failedAt, failedAt)
	d.shapeOf = append(d.shapeOf, shape)
	if int(seq/64) == len(d.gone) {
		d.gone = append(d.gone, 0)
	}
	for _, l := range d.shapes[shape].labels {
		ix := d.byLabel[l]
		if ix == nil {
			ix = &index{}
			d.byLabel[l] = ix
		}
		ix.seqs = append(ix.seqs, seq)
	}
	d.live++
}

// scan returns up to limit selected positions after the cursor, and whether another one is selected. The caller holds mu.
func (d *dlq) scan(f *filter, after int64, limit int) (out []int32, more bool) {
	lists := []*index{&d.all}
	if len(f.labels) > 0 {
		lists = lists[:0]
		for i, l := range f.labels {
			if ix := d.byLabel[l]; ix != nil && (i == 0 || !among(f.labels[:i], l)) {
				lists = append(lists, ix)
			}
		}
	}
	pos := make([]int, len(lists))
	for i, ix := range lists {
		pos[i] = ix.start(d, after, f.from)
	}
	last := int32(-1)
	for {
		best := -1
		for i, ix := range lists {
			if pos[i] < ix.len(d) && (best < 0 || ix.at(pos[i]) < lists[best].at(pos[best])) {
				best = i
			}
		}
		if best < 0 {
			return out, false
		}
		seq := lists[best].at(pos[best])
		pos[best]++
		if f.to != 0 && !d.unsorted && d.failedAt[seq] > f.to {
			return out, false
		}
		if seq == last || !f.selects(d, seq) {
			continue
		}
		last = seq
		if len(out) == limit {
			return out, true
		}
		out = append(out, seq)
	}
}

// remove takes entries out of the queue; the caller holds mu.
func (d *dlq) remove(seqs []int32) {
	for _, s := range seqs {
		if !d.isGone(s) {
			d.gone[s/64] |= 1 << (s % 64)
			d.live--
		}
	}
}

// tag binds a cursor to a token: cursors are opaque to callers.
func (d *dlq) tag() uint32 {
	h := uint32(2166136261)
	for i := 0; i < len(d.token); i++ {
		h = (h ^ uint32(d.token[i])) * 16777619
	}
	return h
}

func (d *dlq) cursor(seq int32) string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "c1.%x.%d", d.tag(), seq))
}

var errCursor = errors.New("invalid cursor")

// parseCursor returns the position that a cursor names, or -1 if there is no cursor.
func (d *dlq) parseCursor(s string) (int64, error) {
	if s == "" {
		return -1, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return 0, errCursor
	}
	parts := strings.Split(string(raw), ".")
	if len(parts) != 3 || parts[0] != "c1" || parts[1] != strconv.FormatUint(uint64(d.tag()), 16) {
		return 0, errCursor
	}
	n, err := strconv.ParseInt(parts[2], 10, 32)
	if err != nil || n < 0 || n >= int64(len(d.failedAt)) {
		return 0, errCursor
	}
	return n, nil
}

// appendID writes the dlqId of an entry: when it failed, and a sequence.
func (d *dlq) appendID(out []byte, seq int32) []byte {
	out = strconv.AppendInt(out, d.failedAt[seq], 10)
	out = append(out, '-')
	return strconv.AppendInt(out, int64(seq), 10)
}

// withID finds the entry in the queue that has a dlqId.
func (d *dlq) withID(id string) (int32, bool) {
	_, sequence, ok := strings.Cut(id, "-")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(sequence, 10, 32)
	if err != nil || n < 0 || n > math.MaxInt32 || n >= int64(len(d.failedAt)) {
		return 0, false
	}
	seq := int32(n)
	return seq, !d.isGone(seq) && string(d.appendID(nil, seq)) == id
}

// createdAt is when the workflow run began that failed at this time, in ms.
func createdAt(failedAt int64) int64 { return failedAt - 1000 }

// runID makes an identifier that differs for each position.
func runID(seq int32) string {
	const alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
	id := [25]byte{'w', 'f', 'r', '_'}
	x := uint64(seq)*0x9E3779B97F4A7C15 + 0xD1B54A32D192ED03
	for i := range 21 {
		if i == 11 {
			x = uint64(seq) // the rest is the position itself
		}
		id[4+i] = alphabet[x&63]
		x >>= 6
	}
	return string(id[:])
}
