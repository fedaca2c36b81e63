package main

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// call is one request to the API as the server saw it.
type call struct {
	at     int64 // ns since the epoch, on arrival
	ns     int64 // until the answer was written
	op     string
	status int
	label  string
	cursor int64 // -1: none
	items  int   // entries that were acted on
}

// record holds every call since it was last emptied.
type record struct {
	mu    sync.Mutex
	calls []call
	acted int64
	byOp  map[string]int64
	first map[string]int64 // label: arrival of its first call
}

func (r *record) forgetCalls() {
	r.mu.Lock()
	r.calls, r.acted, r.byOp, r.first = nil, 0, map[string]int64{}, map[string]int64{}
	r.mu.Unlock()
}

func (r *record) add(c call) {
	r.mu.Lock()
	r.calls = append(r.calls, c)
	r.acted += int64(c.items)
	r.byOp[c.op]++
	if old, ok := r.first[c.label]; !ok || c.at < old {
		r.first[c.label] = c.at
	}
	r.mu.Unlock()
}

func (r *record) counts(live int) any {
	r.mu.Lock()
	defer r.mu.Unlock()
	byOp := map[string]int64{}
	for k, v := range r.byOp {
		byOp[k] = v
	}
	return map[string]any{"calls": len(r.calls), "items": r.acted, "byOp": byOp, "distinctLabels": len(r.first), "live": live}
}

// list writes the record as rows of [arrival in ns, ns until answered, operation, status, label, cursor's position, entries].
func (r *record) list(w http.ResponseWriter) {
	r.mu.Lock()
	calls := r.calls[:len(r.calls):len(r.calls)]
	r.mu.Unlock()
	rows := make([][7]any, len(calls))
	for i, c := range calls {
		rows[i] = [7]any{c.at, c.ns, c.op, c.status, c.label, c.cursor, c.items}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(rows)
}

// condition is what a caller of /_admin/wait waits for.
type condition struct {
	label                  string
	items, calls, distinct int64
}

// wait returns once all of it holds, with the arrival of the label's first call. It spares the bench polling.
func (r *record) wait(ctx context.Context, c condition, timeout time.Duration) any {
	deadline := time.Now().Add(timeout)
	for {
		r.mu.Lock()
		at, seen := r.first[c.label]
		ok := (c.label == "" || seen) && r.acted >= c.items && int64(len(r.calls)) >= c.calls && int64(len(r.first)) >= c.distinct
		r.mu.Unlock()
		if ok || !time.Now().Before(deadline) || ctx.Err() != nil {
			return map[string]any{"ok": ok, "firstCallNs": at}
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func number(r *http.Request, name string) int64 {
	n, _ := strconv.ParseInt(r.URL.Query().Get(name), 10, 64)
	return n
}
