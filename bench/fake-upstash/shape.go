package main

import (
	"encoding/json"
	"strings"
)

// shape is what many entries have in common, so that each of millions needs only a time and a number.
type shape struct {
	labels         []string
	workflowURL    string
	functionState  string
	callerIP       string
	flowControlKey string
	status         int
	body           string

	listed []byte // what a listing says of it
}

// rendered returns the fields of a listing that every entry of this shape shares, without the braces.
func (s *shape) rendered() []byte {
	if s.listed == nil {
		fields := map[string]any{
			"workflowUrl": s.workflowURL, "url": s.workflowURL, "method": "POST", "header": struct{}{}, "body": "",
			"maxRetries": 3, "callerIP": s.callerIP, "responseStatus": s.status,
			"responseHeader": map[string][]string{"Content-Type": {"application/json"}}, "responseBody": s.body,
		}
		if len(s.labels) > 0 {
			fields["label"], fields["labels"] = s.labels[0], s.labels
		}
		if s.functionState != "" {
			fields["failureFunctionState"] = s.functionState
		}
		if s.flowControlKey != "" {
			fields["flowControlKey"] = s.flowControlKey
		}
		text, err := json.Marshal(fields)
		if err != nil {
			panic(err) // strings and numbers only
		}
		s.listed = text[1 : len(text)-1]
	}
	return s.listed
}

// filter is what a call selects by. An empty field selects everything.
type filter struct {
	labels         []string
	from, to       int64  // ms, inclusive
	runID          string // an identifier, or the beginning of one
	createdAt      int64
	workflowURLs   []string
	functionStates []string
	callerIPs      []string
	flowKeys       []string
}

func among(wanted []string, own string) bool {
	for _, w := range wanted {
		if w == own {
			return true
		}
	}
	return len(wanted) == 0
}

func (f *filter) selectsShape(s *shape) bool {
	if !among(f.workflowURLs, s.workflowURL) || !among(f.functionStates, s.functionState) ||
		!among(f.callerIPs, s.callerIP) || !among(f.flowKeys, s.flowControlKey) {
		return false
	}
	if len(f.labels) == 0 {
		return true
	}
	for _, own := range s.labels {
		if among(f.labels, own) {
			return true
		}
	}
	return false
}

func (f *filter) selects(d *dlq, seq int32) bool {
	if d.isGone(seq) {
		return false
	}
	at := d.failedAt[seq]
	if (f.from != 0 && at < f.from) || (f.to != 0 && at > f.to) {
		return false
	}
	if f.createdAt != 0 && createdAt(at) != f.createdAt {
		return false
	}
	if f.runID != "" && !strings.HasPrefix(runID(seq), f.runID) {
		return false
	}
	return f.selectsShape(&d.shapes[d.shapeOf[seq]])
}
