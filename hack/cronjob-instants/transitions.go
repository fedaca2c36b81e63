package main

import (
	"fmt"
	"slices"
	"time"
)

// What is wrong with CronJob's answer, for the cases that do not follow it. Each loses instants that exist, or answers
// with one that the expression excludes, and most do so or not depending on where the search began.
const (
	dayLost = "the library steps from midnight to midnight; where one does not exist, east of Greenwich, it falls back " +
		"to the day before and then steps over the whole day"
	monthLost = "the library steps from one month's first midnight to the next; where one does not exist, west of " +
		"Greenwich, it falls back and steps to near the month's end"
	wrongDay = "the library notices a new day by its hour 0; where that does not exist it answers with the next day, " +
		"which the expression excludes"
	offTheHour = "the library steps by whole hours; a shift that does not lie on full hours takes it off the hour, or " +
		"past one, and no full hour is found for the rest of the day"
	stuck = "the library rounds down to the full hour; in an hour that comes twice, but not from its beginning, this " +
		"leads it back, and it answers with the same instant for ever"
	dayNotThere = "the library never returns when it steps onto a day that the zone skipped"
)

// transition is a change of a zone's offset and what CronJob gets wrong about it, by schedule.
type transition struct {
	zone    string
	at      string
	differs map[string]string
}

// around makes the cases for a transition: schedules of every kind, begun so that their five instants lie around it.
func around(t transition) ([]testCase, error) {
	at, err := time.Parse(time.RFC3339, t.at)
	if err != nil {
		return nil, err
	}
	location, err := time.LoadLocation(t.zone)
	if err != nil {
		return nil, err
	}
	after, before := at.In(location), at.Add(-time.Second).In(location)
	_, offset := after.Zone()
	_, earlier := before.Zone()
	if offset == earlier {
		return nil, fmt.Errorf("%s: no transition at %s in this tz database", t.zone, t.at)
	}
	// The hour of the wall clock that is skipped, or comes twice, and the day that it is about.
	hour := at.UTC().Add(time.Duration(min(offset, earlier)) * time.Second).Hour()
	day := after
	if after.Hour() >= 22 {
		day = after.Add(3 * time.Hour)
	}
	const soon, sameDay, daily, monthly = 100 * time.Minute, 10 * time.Hour, 40 * time.Hour, 20 * 24 * time.Hour
	var cases []testCase
	add := func(lead time.Duration, format string, values ...any) {
		schedule := fmt.Sprintf(format, values...)
		cases = append(cases, testCase{
			Schedule: schedule, Zone: t.zone, Start: format3339(at.Add(-lead)), differs: t.differs[schedule],
		})
	}
	add(soon, "*/30 * * * *")
	add(soon, "5 * * * *")
	add(daily, "0 0 * * *")
	add(daily, "15 %d * * *", hour)
	add(daily, "45 %d * * *", (hour+1)%24)
	add(sameDay, "0 */3 * * *")
	add(sameDay, "30 23,0-3 * * *")
	add(daily, "0 5 * * %d", day.AddDate(0, 0, -1).Weekday())
	add(daily, "10 12 %d * *", day.Day())
	add(monthly, "20 4 %d %d %d", day.Day(), day.Month(), (day.Weekday()+3)%7)
	for schedule := range t.differs {
		if !slices.ContainsFunc(cases, func(c testCase) bool { return c.Schedule == schedule }) {
			return nil, fmt.Errorf("%s: %q differs, but is no case", t.zone, schedule)
		}
	}
	return cases, nil
}

func format3339(t time.Time) string { return t.UTC().Format(time.RFC3339) }

var transitions = []transition{
	{zone: "Europe/Berlin", at: "2026-03-29T01:00:00Z"},
	{zone: "Europe/Berlin", at: "2026-10-25T01:00:00Z"},
	{zone: "Europe/London", at: "2026-03-29T01:00:00Z"},
	{zone: "Europe/London", at: "2026-10-25T01:00:00Z"},
	{zone: "Europe/Dublin", at: "2024-10-27T01:00:00Z"},
	{zone: "America/Los_Angeles", at: "2026-03-08T10:00:00Z"},
	{zone: "America/Los_Angeles", at: "2026-11-01T09:00:00Z"},
	{zone: "America/New_York", at: "2026-03-08T07:00:00Z"},
	{zone: "America/New_York", at: "2026-11-01T06:00:00Z"},
	{zone: "America/St_Johns", at: "2010-11-07T02:31:00Z", differs: map[string]string{
		"0 */3 * * *": offTheHour,
		"0 0 * * *":   offTheHour,
		"15 23 * * *": offTheHour,
		"45 0 * * *":  stuck,
	}},
	{zone: "America/Sao_Paulo", at: "2018-11-04T03:00:00Z", differs: map[string]string{
		"0 5 * * 6": wrongDay,
	}},
	{zone: "America/Sao_Paulo", at: "2019-02-17T02:00:00Z"},
	{zone: "America/Havana", at: "2026-03-08T05:00:00Z", differs: map[string]string{
		"0 5 * * 6": wrongDay,
	}},
	{zone: "America/Havana", at: "2026-11-01T05:00:00Z"},
	{zone: "America/Santiago", at: "2024-09-08T04:00:00Z", differs: map[string]string{
		"0 5 * * 6": wrongDay,
	}},
	{zone: "America/Santiago", at: "2025-04-06T03:00:00Z"},
	{zone: "America/Asuncion", at: "2023-10-01T04:00:00Z", differs: map[string]string{
		"0 5 * * 6":   wrongDay,
		"20 4 1 10 3": monthLost,
	}},
	{zone: "Atlantic/Azores", at: "2026-03-29T01:00:00Z", differs: map[string]string{
		"0 5 * * 6": wrongDay,
	}},
	{zone: "Atlantic/Azores", at: "2026-10-25T01:00:00Z"},
	{zone: "Africa/Cairo", at: "2024-04-25T22:00:00Z", differs: map[string]string{
		"0 5 * * 4":    wrongDay,
		"10 12 26 * *": dayLost,
		"20 4 26 4 1":  dayLost,
	}},
	{zone: "Africa/Cairo", at: "2024-10-31T21:00:00Z"},
	{zone: "Africa/Casablanca", at: "2024-03-10T02:00:00Z"},
	{zone: "Africa/Casablanca", at: "2024-04-14T02:00:00Z"},
	{zone: "Antarctica/Troll", at: "2026-03-29T01:00:00Z"},
	{zone: "Antarctica/Troll", at: "2026-10-25T01:00:00Z"},
	{zone: "Asia/Amman", at: "2021-10-28T22:00:00Z"},
	{zone: "Asia/Beirut", at: "2022-03-26T22:00:00Z", differs: map[string]string{
		"0 5 * * 6":    wrongDay,
		"10 12 27 * *": dayLost,
		"20 4 27 3 3":  dayLost,
	}},
	{zone: "Asia/Beirut", at: "2022-10-29T21:00:00Z"},
	{zone: "Asia/Gaza", at: "2022-03-26T22:00:00Z", differs: map[string]string{
		"0 5 * * 6":    wrongDay,
		"10 12 27 * *": dayLost,
		"20 4 27 3 3":  dayLost,
	}},
	{zone: "Asia/Gaza", at: "2022-10-28T23:00:00Z"},
	{zone: "Asia/Tehran", at: "2022-09-21T19:30:00Z"},
	{zone: "Australia/Adelaide", at: "2026-04-04T16:30:00Z"},
	{zone: "Australia/Adelaide", at: "2026-10-03T16:30:00Z"},
	{zone: "Australia/Lord_Howe", at: "2026-04-04T15:00:00Z", differs: map[string]string{
		"0 */3 * * *": offTheHour,
		"0 0 * * *":   offTheHour,
		"10 12 5 * *": offTheHour,
		"20 4 5 4 3":  offTheHour,
	}},
	{zone: "Australia/Lord_Howe", at: "2026-10-03T15:30:00Z", differs: map[string]string{
		"0 */3 * * *": offTheHour,
		"0 0 * * *":   offTheHour,
		"10 12 4 * *": offTheHour,
		"20 4 4 10 3": offTheHour,
	}},
	{zone: "Pacific/Apia", at: "2011-12-30T10:00:00Z", differs: map[string]string{
		"10 12 31 * *": dayNotThere,
		"20 4 31 12 2": dayNotThere,
	}},
	{zone: "Pacific/Chatham", at: "2026-04-04T14:00:00Z", differs: map[string]string{
		"45 3 * * *": stuck,
	}},
	{zone: "Pacific/Chatham", at: "2026-09-26T14:00:00Z", differs: map[string]string{
		"45 3 * * *": offTheHour,
	}},
}
