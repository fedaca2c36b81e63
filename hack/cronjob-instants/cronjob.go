package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// patience is how long one question to the library may take; within its bound of five years it answers in a tenth of
// a second.
const patience = 2 * time.Second

const neverReturns = "never returns"

// parse does what a CronJob's validation and then its controller do: the schedule must be readable by itself, name no
// zone, and is then read again with the zone before it.
func parse(c testCase) (cron.Schedule, error) {
	if c.Schedule == "" {
		return nil, errors.New("a schedule is required")
	}
	if _, err := parseStandard(c.Schedule); err != nil {
		return nil, err
	}
	if strings.Contains(c.Schedule, "TZ") {
		return nil, errors.New("TZ belongs into the field timeZone")
	}
	if c.Zone == "" {
		return parseStandard("TZ=UTC " + c.Schedule)
	}
	if err := checkZone(c.Zone); err != nil {
		return nil, err
	}
	return parseStandard(fmt.Sprintf("TZ=%s %s", c.Zone, c.Schedule))
}

func parseStandard(schedule string) (parsed cron.Schedule, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("panic: %v", cause)
		}
	}()
	return cron.ParseStandard(schedule)
}

var zonePart = regexp.MustCompile(`^[A-Za-z0-9._+-]{1,14}$`)

func checkZone(zone string) error {
	unknown := fmt.Errorf("unknown time zone %s", zone)
	if strings.EqualFold(zone, "Local") {
		return unknown
	}
	for part := range strings.SplitSeq(zone, "/") {
		if part == "." || part == ".." || strings.HasPrefix(part, "-") || !zonePart.MatchString(part) {
			return unknown
		}
	}
	if _, err := time.LoadLocation(zone); err != nil {
		return unknown
	}
	return nil
}

// follow asks for one instant after the other. The library's answer "none" ends the list.
func follow(schedule cron.Schedule, start time.Time) []string {
	found := []string{}
	for at := start; len(found) < instants; {
		next := make(chan time.Time, 1)
		// A question without an answer is left to itself; it ends with the process.
		go func() { next <- schedule.Next(at) }()
		select {
		case at = <-next:
		case <-time.After(patience):
			return append(found, neverReturns)
		}
		if at.IsZero() {
			break
		}
		found = append(found, format(at))
	}
	return found
}

func format(t time.Time) string {
	return t.UTC().Format(time.RFC3339Nano)
}
