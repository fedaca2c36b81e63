package main

import (
	"fmt"
	"time"

	"github.com/robfig/cron/v3"
)

// The leap day that 2100 does not have makes the longest wait between two instants of a schedule.
const longestWait = (8*366 + 1) * 24 * time.Hour

const star = 1 << 63

// expected is what a schedule means, from CronJob's own reading of the expression: the minutes at which the zone's wall
// clock shows what the fields ask for. It is found by looking at every minute, so there is no cleverness to be wrong.
func expected(schedule cron.Schedule, start time.Time) ([]string, error) {
	switch schedule := schedule.(type) {
	case cron.ConstantDelaySchedule:
		return everySo(schedule, start), nil
	case *cron.SpecSchedule:
		return scan(schedule, start), nil
	}
	return nil, fmt.Errorf("a schedule of type %T", schedule)
}

func everySo(schedule cron.ConstantDelaySchedule, start time.Time) []string {
	found := []string{}
	for at := start.Truncate(time.Second); len(found) < instants; {
		at = at.Add(schedule.Delay)
		found = append(found, format(at))
	}
	return found
}

func scan(schedule *cron.SpecSchedule, start time.Time) []string {
	found := []string{}
	last := start
	at := start.Truncate(time.Minute).Add(time.Minute)
	for len(found) < instants && at.Sub(last) <= longestWait {
		local := at.In(schedule.Location)
		if !dayMatches(schedule, local) {
			at = at.Add(idle(local))
			continue
		}
		if has(schedule.Hour, local.Hour()) && has(schedule.Minute, local.Minute()) {
			found, last = append(found, format(at)), at
		}
		at = at.Add(time.Minute)
	}
	return found
}

// idle is how far the rest of a day that does not match may be skipped: an hour, unless the day or the offset changes.
func idle(local time.Time) time.Duration {
	later := local.Add(time.Hour)
	_, offset := local.Zone()
	_, laterOffset := later.Zone()
	if offset == laterOffset && local.Day() == later.Day() {
		return time.Hour
	}
	return time.Minute
}

func dayMatches(schedule *cron.SpecSchedule, local time.Time) bool {
	if !has(schedule.Month, int(local.Month())) {
		return false
	}
	month, week := has(schedule.Dom, local.Day()), has(schedule.Dow, int(local.Weekday()))
	if (schedule.Dom|schedule.Dow)&star != 0 {
		return month && week
	}
	return month || week
}

func has(set uint64, value int) bool {
	return set&(1<<value) != 0
}
