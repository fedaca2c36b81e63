package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// upstash is a fake with what a test seeded, and a client of it.
type upstash struct {
	t *testing.T
	s *server
}

func seededWith(t *testing.T, body string) upstash {
	u := upstash{t, newServer()}
	u.do(http.MethodPost, "/_admin/seed", body, nil)
	return u
}

func (u upstash) do(method, target, body string, into any) {
	u.t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer t")
	w := httptest.NewRecorder()
	u.s.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		u.t.Fatalf("%s %s: %d %s", method, target, w.Code, w.Body)
	}
	if into != nil {
		if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
			u.t.Fatal(err)
		}
	}
}

type page struct {
	Cursor       string
	WorkflowRuns []struct{ WorkflowRunID string }
	Messages     []struct {
		DlqID          string
		Label          string
		ResponseStatus int
		ResponseBody   string
	}
}

// pages calls until there is no cursor.
func (u upstash) pages(method, path string, q url.Values) (pages []page) {
	u.t.Helper()
	for {
		var p page
		u.do(method, path+"?"+q.Encode(), "", &p)
		pages = append(pages, p)
		if p.Cursor == "" {
			return pages
		}
		q.Set("cursor", p.Cursor)
	}
}

func (u upstash) live() int {
	var got struct{ Live int }
	u.do(http.MethodGet, "/_admin/stats", "", &got)
	return got.Live
}

func TestADrainByCursorActsOnEachEntryOnce(t *testing.T) {
	u := seededWith(t, `{"token":"t","count":1234,"labels":["a","b,c"]}`)
	seen := map[string]bool{}
	pages := u.pages(http.MethodPost, "/v2/workflows/dlq/resume", url.Values{"label": {"c"}})
	for _, p := range pages {
		for _, run := range p.WorkflowRuns {
			seen[run.WorkflowRunID] = true
		}
	}
	if len(pages) != 13 || len(seen) != 617 || u.live() != 617 {
		t.Errorf("%d pages, %d workflow runs, %d entries left", len(pages), len(seen), u.live())
	}
}

func TestAnEntryThatWasListedIsActedOnByItsID(t *testing.T) {
	u := seededWith(t, `{"token":"t","count":150,"labels":["a"],"responseStatuses":[500,404,503]}`)
	listed := u.pages(http.MethodGet, "/v2/dlq", url.Values{"label": {"a"}, "count": {"100"}})
	ids := url.Values{}
	for _, p := range listed {
		for _, m := range p.Messages {
			if m.Label != "a" || m.ResponseBody == "" {
				t.Fatalf("%+v", m)
			}
			if m.ResponseStatus >= 500 && len(ids["dlqIds"]) < actionCap {
				ids.Add("dlqIds", m.DlqID)
			}
		}
	}
	var acted page
	u.do(http.MethodPost, "/v2/workflows/dlq/restart?"+ids.Encode(), "", &acted)
	if len(listed) != 2 || len(acted.WorkflowRuns) != 50 || u.live() != 100 {
		t.Errorf("%d pages, %d workflow runs, %d entries left", len(listed), len(acted.WorkflowRuns), u.live())
	}
}

func TestWindowsOfTimeShareAQueueWithoutGapOrOverlap(t *testing.T) {
	for _, spread := range []string{"even", "tail", "second"} {
		u := seededWith(t, `{"token":"t","count":1000,"failedFrom":1000000000000,"failedTo":1000086400000,"spread":"`+spread+`"}`)
		q := func(from, to string) url.Values { return url.Values{"fromDate": {from}, "toDate": {to}} }
		for _, window := range []url.Values{
			q("1000043200000", "1000086400000"), q("1000000000000", "1000021599999"), q("1000021600000", "1000043199999"),
		} {
			u.pages(http.MethodDelete, "/v2/workflows/dlq", window)
		}
		if u.live() != 0 {
			t.Errorf("%s: %d entries left", spread, u.live())
		}
	}
}

func TestTimesAscendWithinTheirSpan(t *testing.T) {
	late := map[string]int{"even": 5, "tail": 50, "second": 100} // of 100, in the last twentieth
	for spread, atLeast := range late {
		at, err := times(spread, 0, day.Milliseconds(), 100)
		if err != nil {
			t.Fatal(err)
		}
		before, found := int64(-1), 0
		for i := range 100 {
			if at(i) < before || at(i) > day.Milliseconds() {
				t.Errorf("%s: %d ms after %d ms", spread, at(i), before)
			}
			if before = at(i); before >= day.Milliseconds()*19/20 {
				found++
			}
		}
		if found < atLeast {
			t.Errorf("%s: %d of 100 are late", spread, found)
		}
	}
}

func TestAMillionEntriesTakeAFewBytesEach(t *testing.T) {
	s := newServer()
	r := httptest.NewRequest(http.MethodPost, "/_admin/seed", strings.NewReader(`{"token":"t","count":1000000,"labels":["a"]}`))
	if _, err := s.seed(r); err != nil {
		t.Fatal(err)
	}
	d := s.dlq("t", false)
	bytes := 8*cap(d.failedAt) + 4*cap(d.shapeOf) + 8*cap(d.gone) + 4*cap(d.byLabel["a"].seqs)
	if bytes > 32_000_000 || len(d.shapes) != 1 {
		t.Errorf("%d bytes, %d shapes", bytes, len(d.shapes))
	}
}

func TestACallTakesAtLeastTheLatency(t *testing.T) {
	u := seededWith(t, `{"token":"t","count":1}`)
	u.do(http.MethodPost, "/_admin/config", `{"latencyMs":30}`, nil)
	since := time.Now()
	u.do(http.MethodGet, "/v2/dlq", "", nil)
	if took := time.Since(since); took < 30*time.Millisecond {
		t.Error(took)
	}
}
