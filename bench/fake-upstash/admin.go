package main

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"
)

const (
	mostEntries = 20_000_000 // in one seed
	day         = 24 * time.Hour
)

// admin serves what a bench sets up and reads back.
func (s *server) admin(w http.ResponseWriter, r *http.Request) {
	var answer any = map[string]bool{"ok": true}
	var err error
	switch r.Method + " " + r.URL.Path {
	case "POST /_admin/seed":
		answer, err = s.seed(r)
	case "POST /_admin/reset":
		var in struct {
			Items bool `json:"items"` // empty the queues too
		}
		if err = decode(r, &in); err == nil {
			s.reset(in.Items)
		}
	case "POST /_admin/config":
		var in struct {
			LatencyMs float64 `json:"latencyMs"`
		}
		if err = decode(r, &in); err == nil {
			s.latencyNs.Store(int64(in.LatencyMs * 1e6))
		}
	case "GET /_admin/stats":
		answer = s.counts(s.live())
	case "GET /_admin/calls":
		s.list(w)
		return
	case "GET /_admin/wait":
		timeout := number(r, "timeoutMs")
		if timeout < 0 || timeout > 600_000 {
			err = errors.New("timeoutMs must be 0 to 600000")
			break
		}
		c := condition{r.URL.Query().Get("label"), number(r, "items"), number(r, "calls"), number(r, "distinctLabels")}
		answer = s.wait(r.Context(), c, time.Duration(timeout)*time.Millisecond)
	default:
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		answer = map[string]string{"error": err.Error()}
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func decode(r *http.Request, v any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	return d.Decode(v)
}

func (s *server) reset(items bool) {
	s.forgetCalls()
	if !items {
		return
	}
	s.queues.Lock()
	defer s.queues.Unlock()
	for token := range s.dlqs {
		s.dlqs[token] = newDLQ(token)
	}
}

func (s *server) live() int {
	s.queues.RLock()
	defer s.queues.RUnlock()
	live := 0
	for _, d := range s.dlqs {
		d.mu.Lock()
		live += d.live
		d.mu.Unlock()
	}
	return live
}

// seeded is what to add to a queue. Labels and statuses are dealt in turns; a label such as "a,b" is two labels.
type seeded struct {
	Token            string   `json:"token"`
	Count            int      `json:"count"`
	Labels           []string `json:"labels"`
	ResponseStatuses []int    `json:"responseStatuses"` // 500 by default
	WorkflowURL      string   `json:"workflowUrl"`
	Spread           string   `json:"spread"`     // "even" by default
	FailedFrom       int64    `json:"failedFrom"` // ms; a day before FailedTo by default
	FailedTo         int64    `json:"failedTo"`   // ms; now by default
}

func (s *server) seed(r *http.Request) (any, error) {
	in := seeded{Labels: []string{""}, ResponseStatuses: []int{500}, WorkflowURL: "https://app.example.com/api/workflow", Spread: "even"}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	if in.Token == "" || in.Count < 0 || in.Count > mostEntries || len(in.Labels) == 0 || len(in.ResponseStatuses) == 0 {
		return nil, errors.New("a token, a label, a status, and a count of 0 to 20000000 are required")
	}
	if in.FailedTo == 0 {
		in.FailedTo = time.Now().UnixMilli()
	}
	if in.FailedFrom == 0 {
		in.FailedFrom = in.FailedTo - day.Milliseconds()
	}
	at, err := times(in.Spread, in.FailedFrom, in.FailedTo, in.Count)
	if err != nil {
		return nil, err
	}
	d := s.dlq(in.Token, true)
	d.mu.Lock()
	defer d.mu.Unlock()
	shapes := map[[2]int]uint32{}
	for i := range in.Count {
		dealt := [2]int{i % len(in.Labels), i % len(in.ResponseStatuses)}
		which, ok := shapes[dealt]
		if !ok {
			which = d.addShape(in.shape(dealt))
			shapes[dealt] = which
		}
		d.add(at(i), which)
	}
	return map[string]int{"live": d.live}, nil
}

func (in *seeded) shape(dealt [2]int) shape {
	made := shape{
		workflowURL: in.WorkflowURL, callerIP: "203.0.113.8", status: in.ResponseStatuses[dealt[1]],
		body: `{"error":"` + strings.Repeat("the payment service did not answer; ", 8) + `"}`,
	}
	if label := in.Labels[dealt[0]]; label != "" {
		made.labels = strings.Split(label, ",")
	}
	return made
}
