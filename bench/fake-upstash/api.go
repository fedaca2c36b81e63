package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	actionCap = 50  // most entries that one bulk action touches
	listCap   = 100 // most entries that one listing returns
)

type server struct {
	record
	latencyNs atomic.Int64

	queues sync.RWMutex
	dlqs   map[string]*dlq // by token
}

func newServer() *server {
	s := &server{dlqs: map[string]*dlq{}}
	s.forgetCalls()
	return s
}

// dlq finds the queue of a token, or makes it.
func (s *server) dlq(token string, create bool) *dlq {
	s.queues.RLock()
	d := s.dlqs[token]
	s.queues.RUnlock()
	if d != nil || !create {
		return d
	}
	s.queues.Lock()
	defer s.queues.Unlock()
	if d = s.dlqs[token]; d == nil {
		d = newDLQ(token)
		s.dlqs[token] = d
	}
	return d
}

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 65536); return &b }}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/_admin/") {
		s.admin(w, r)
		return
	}
	c := call{at: time.Now().UnixNano(), cursor: -1}
	buffer := buffers.Get().(*[]byte)
	body := s.answer(r, &c, (*buffer)[:0])
	h := w.Header()
	h["Content-Type"] = []string{"application/json"}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(c.status)
	_, _ = w.Write(body)
	c.ns = time.Now().UnixNano() - c.at
	s.add(c)
	*buffer = body
	buffers.Put(buffer)
}

func refuse(c *call, out []byte, code int, message string) []byte {
	c.status = code
	text, _ := json.Marshal(map[string]string{"error": message})
	return append(out[:0], text...)
}

func operation(r *http.Request) string {
	switch r.Method + " " + r.URL.Path {
	case "POST /v2/workflows/dlq/resume":
		return "resume"
	case "POST /v2/workflows/dlq/restart":
		return "restart"
	case "DELETE /v2/workflows/dlq":
		return "delete"
	case "GET /v2/workflows/dlq", "GET /v2/dlq":
		return "list"
	}
	return "unknown"
}

// answer serves one call of the API into out, and notes in c what it did.
func (s *server) answer(r *http.Request, c *call, out []byte) []byte {
	if ns := s.latencyNs.Load(); ns > 0 {
		time.Sleep(time.Duration(ns))
	}
	if c.op = operation(r); c.op == "unknown" {
		return refuse(c, out, http.StatusNotFound, "not found")
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	d := s.dlq(token, false)
	if !ok || d == nil {
		return refuse(c, out, http.StatusUnauthorized, "invalid token")
	}
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return refuse(c, out, http.StatusBadRequest, "malformed query")
	}
	f, limit, err := selection(q, c.op)
	if err != nil {
		return refuse(c, out, http.StatusBadRequest, err.Error())
	}
	c.label = strings.Join(f.labels, ",")

	d.mu.Lock()
	defer d.mu.Unlock()
	if c.cursor, err = d.parseCursor(q.Get("cursor")); err != nil {
		return refuse(c, out, http.StatusBadRequest, err.Error())
	}
	var seqs []int32
	cursor := ""
	if ids := q["dlqIds"]; len(ids) > 0 && c.op != "list" {
		if len(ids) > actionCap {
			return refuse(c, out, http.StatusBadRequest, "too many dlqIds")
		}
		for _, id := range ids {
			seq, ok := d.withID(id)
			if !ok {
				return refuse(c, out, http.StatusNotFound, "some DLQ messages were not found")
			}
			seqs = append(seqs, seq)
		}
		if c.label == "" && len(d.shapes[d.shapeOf[seqs[0]]].labels) > 0 {
			c.label = d.shapes[d.shapeOf[seqs[0]]].labels[0] // an action by ID belongs to the drain that listed it
		}
	} else {
		var more bool
		if seqs, more = d.scan(f, c.cursor, limit); more {
			cursor = d.cursor(seqs[len(seqs)-1])
		}
	}
	c.status = http.StatusOK
	if c.op == "list" {
		return d.appendMessages(out, seqs, cursor)
	}
	c.items = len(seqs)
	out = d.appendActed(out, c.op, seqs, cursor)
	d.remove(seqs)
	return out
}

func (d *dlq) appendActed(out []byte, op string, seqs []int32, cursor string) []byte {
	out = append(out, `{"cursor":"`...)
	out = append(out, cursor...)
	if op == "delete" {
		out = append(out, `","deleted":`...)
		return append(strconv.AppendInt(out, int64(len(seqs)), 10), '}')
	}
	out = append(out, `","workflowRuns":[`...)
	for i, seq := range seqs {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, `{"workflowRunId":"`...)
		out = append(out, runID(seq)...)
		out = append(out, `","workflowCreatedAt":`...)
		out = strconv.AppendInt(out, createdAt(d.failedAt[seq]), 10)
		out = append(out, '}')
	}
	return append(out, `]}`...)
}

func (d *dlq) appendMessages(out []byte, seqs []int32, cursor string) []byte {
	out = append(out, `{"cursor":"`...)
	out = append(out, cursor...)
	out = append(out, `","messages":[`...)
	for i, seq := range seqs {
		if i > 0 {
			out = append(out, ',')
		}
		created := createdAt(d.failedAt[seq])
		out = append(out, `{"dlqId":"`...)
		out = d.appendID(out, seq)
		out = append(out, `","messageId":"msg_`...)
		out = strconv.AppendInt(out, int64(seq), 10)
		out = append(out, `","workflowRunId":"`...)
		out = append(out, runID(seq)...)
		out = append(out, `","workflowCreatedAt":`...)
		out = strconv.AppendInt(out, created, 10)
		out = append(out, `,"createdAt":`...)
		out = strconv.AppendInt(out, created, 10)
		out = append(out, ',')
		out = append(out, d.shapes[d.shapeOf[seq]].rendered()...)
		out = append(out, '}')
	}
	return append(out, `]}`...)
}

func selection(q url.Values, op string) (*filter, int, error) {
	f := &filter{
		labels: q["label"], runID: q.Get("workflowRunId"), workflowURLs: q["workflowUrl"],
		functionStates: q["failureFunctionState"], callerIPs: q["callerIp"], flowKeys: q["flowControlKey"],
	}
	for _, p := range []struct {
		name string
		into *int64
	}{{"fromDate", &f.from}, {"toDate", &f.to}, {"workflowCreatedAt", &f.createdAt}} {
		if v := q.Get(p.name); v != "" {
			n, err := strconv.ParseInt(v, 10, 64)
			if err != nil || n < 0 {
				return nil, 0, fmt.Errorf("invalid %s", p.name)
			}
			*p.into = n
		}
	}
	if f.from != 0 && f.to != 0 && f.from > f.to {
		return nil, 0, errors.New("fromDate is after toDate")
	}
	limit := actionCap
	if op == "list" {
		limit = listCap
	}
	if v := q.Get("count"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			return nil, 0, errors.New("invalid count")
		}
		limit = min(n, limit)
	}
	return f, limit, nil
}
