package main

const (
	monday  = "2026-11-16T00:00:00Z"
	evening = "2026-11-20T21:47:12Z"
)

// expressions are the ways to write a field, each read in UTC from two starts.
var expressions = []string{
	// Every minute, and single values at the edges of the fields.
	"* * * * *", "0 * * * *", "59 * * * *", "0 0 * * *", "59 23 * * *", "0 0 1 * *", "0 0 1 1 *", "59 23 31 12 *",
	"0 0 * * 0", "0 0 * * 6", "30 12 15 6 *",
	// Lists, ranges and steps.
	"0,15,30,45 * * * *", "5,5,5 * * * *", "10-13 8 * * *", "0-59 0 * * *", "0 0-23 * * *", "0 0 1-31 * *",
	"0 0 1 1-12 *", "0 0 * * 0-6", "7-7 * * * *", "*/15 * * * *", "*/7 * * * *", "*/59 * * * *", "1-59/2 5 * * *",
	"0-59/30 * * * *", "10-40/15 * * * *", "0 */5 * * *", "0 0-23/6 * * *", "0 9-17/4 * * *", "0 0 */10 * *",
	"0 0 1-31/10 * *", "0 0 * */5 *", "0 0 1 1-12/5 *", "0 0 * * */2", "0 0 * * */3", "0 0 * * 0-6/5",
	"1,10-20/5,50-52 6 * * *", "0 0,12 1 */2 *", "0-5,3-8 1 * * *",
	// N/step runs from N to the end of the field.
	"5/15 * * * *", "58/1 * * * *", "0 20/2 * * *", "0 0 28/1 * *", "0 0 1 10/1 *", "0 0 * * 5/1", "0 0 * * 1/2",
	"0 0 * * 3/2", "0 0 * * 1/6", "0 0 * * 6/2", "59/5 * * * *",
	// Steps that leave only the first value.
	"*/60 * * * *", "*/61 * * * *", "3-9/100 * * * *", "0-59/60 * * * *", "7/99 * * * *", "0 */24 * * *",
	"0 0-23/24 * * *", "0 0 */31 * *", "0 0 */32 * *", "0 0 5-9/31 * *", "0 0 1 */12 *", "0 0 1 3-9/40 *",
	"0 0 * * */6", "0 0 * * */7", "0 0 * * */8", "0 0 * * 0-6/7", "0 0 * * 2-4/9",
	"*/9223372036854775807 * * * *",
	// Names, in any case.
	"0 0 1 JAN *", "0 0 1 jan *", "0 0 1 Feb,aUg *", "0 0 1 MAR-may *", "0 0 1 apr-DEC/4 *", "0 0 1 NOV/1 *",
	"0 0 1 1-jun/2 *", "0 0 * * SUN", "0 0 * * mon", "0 0 * * Tue-FRI", "0 0 * * sun-sat/3", "0 0 * * WED/2",
	"0 0 * * 1-thu", "0 0 * * SAT,sun", "0 0 * * sat/9",
	// A question mark is a star.
	"? * * * *", "0 0 ? * *", "0 0 * * ?", "0 0 ? * ?", "0 ? * ? *", "?/20 * * * *", "0 0 ? * MON", "0 0 13 * ?",
	"0 0 ?/10 * MON",
	// Both days: either of them, unless one of the fields has a star that a step has not taken away.
	"0 0 13 * 5", "0 0 13 * FRI", "0 0 1,15 * 1-5", "0 0 1-31 * 1", "0 0 13 * 0-6", "0 0 */2 * 1", "0 0 */1 * 1",
	"0 0 */20 * SUN", "0 0 13 * */2", "0 0 13 * */1", "0 0 13 * */7", "0 0 */10 * */3", "0 0 *,13 * 1", "0 0 13,* * 1",
	"0 0 13 * 1,*", "0 0 13 * *,1", "0 0 */10,* * 1", "0 0 *,*/10 * 1", "0 0 */10,5 * 1", "0 0 5,*/10 * 1",
	"0 0 ?,3 * 1", "0 0 1/10 * 1", "0 0 1-31/1 * 1", "0 0 31 * 1", "0 0 30 2 1", "0 0 29 2 1", "0 0 31 4,6 SUN",
	// Ends of months and leap days.
	"0 0 31 * *", "0 0 30 * *", "0 0 29 * *", "0 0 28-31 * *", "0 0 29 2 *", "59 23 28,29 2 *", "0 0 31 1,3,5 *",
	"0 0 */30 2 *",
	// What the library accepts although nobody would write it.
	"+5 +3 * * *", "1-+3 * * * *", "*/+20 * * * *", "007 08 09 * *", "0000000000000000000005 * * * *",
	"1,,2 * * * *", ",3 * * * *", "3, * * * *", "*- * * * *", "*-5 * * * *", "*-9-8-x 4 * * *", "?-2/20 * * * *",
	"*-3/20 * * * *", "0 0 , * 1", "0 0 13 * ,", "0 0 * , *", ", * * * *", "0 0 , * *", "0 0 , * ,", "0 0 ,, * 1,,3",
	"  0   0\t* *  * ", "\n0 0 * * *", "0\u00a00 * * *", "0\u30000 * * *", "0 0 * * *\r\n",
	// What never comes.
	"0 0 30 2 *", "0 0 31 2 *", "0 0 31 4 *", "0 0 * * ,", "0 0 */1 * ,", "0 0 , * ?", "0 0 31 2,4,6,9,11 *", "0 0 30-31 FEB *", "0 0 31 sep/2 *",
	// Named schedules.
	"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly",
}

// oneStart are schedules whose beginning matters.
var oneStart = []testCase{
	{Schedule: "* * * * *", Start: "2026-11-20T12:00:00.000000001Z"},
	{Schedule: "* * * * *", Start: "2026-11-20T11:59:59.999999999Z"},
	{Schedule: "*/15 * * * *", Start: "2026-11-20T12:15:00.5Z"},
	{Schedule: "0 0 29 2 *", Start: "1996-03-01T00:00:00Z"},
	{Schedule: "0 0 29 2 *", Start: "2000-02-28T23:59:59Z"},
	{Schedule: "0 0 29 2 *", Start: "2024-02-29T00:00:00Z"},
	{Schedule: "30 12 29 2 *", Start: "2024-02-29T12:29:59Z"},
	{Schedule: "30 12 29 2 *", Zone: "Asia/Kathmandu", Start: "2024-02-29T06:45:00Z"},
	{Schedule: "0 0 29 2 *", Start: "2028-02-28T12:00:00Z"},
	{Schedule: "0 0 29 2 *", Start: "2096-02-29T00:00:00Z", differs: noLeapDay},
	{Schedule: "59 23 29 2 *", Zone: "Asia/Kathmandu", Start: "2092-03-01T00:00:00Z", differs: noLeapDay},
	{Schedule: "0 0 29 2 *", Start: "2100-01-01T00:00:00Z"},
	{Schedule: "0 0 28 2 *", Start: "2098-06-01T00:00:00Z"},
	{Schedule: "0 0 * 2 *", Start: "2100-02-27T00:00:00Z"},
	{Schedule: "0 0 29 2 1", Start: "2099-03-01T00:00:00Z"},
	{Schedule: "0 0 31 * *", Zone: "Asia/Kolkata", Start: "2027-12-30T18:30:00Z"},
	{Schedule: "0 0 1 1 *", Zone: "Pacific/Kiritimati", Start: "2026-12-31T09:59:59Z"},
	{Schedule: "45 5 * * *", Zone: "Asia/Kathmandu", Start: "2026-11-20T00:00:00Z"},
	{Schedule: "0 0 * * MON", Zone: "Asia/Kathmandu", Start: "2026-11-20T00:00:00Z"},
	{Schedule: "30 5 * * *", Zone: "Asia/Kolkata", Start: "2026-11-20T00:00:00Z"},
	{Schedule: "0 0 1 * *", Zone: "Asia/Kolkata", Start: "2026-10-31T18:30:00Z"},
	{Schedule: "0 0 30 12 *", Zone: "Pacific/Apia", Start: "2011-12-01T00:00:00Z", differs: dayNotThere},
	{Schedule: "0 0 * * 5", Zone: "Pacific/Apia", Start: "2011-12-20T00:00:00Z", differs: dayNotThere},
	{Schedule: "0 12 * * *", Zone: "Pacific/Apia", Start: "2011-12-28T00:00:00Z"},
	{Schedule: "0 2 29 3 *", Zone: "Europe/Berlin", Start: "2026-01-01T00:00:00Z"},
	{Schedule: "30 2 25 10 *", Zone: "Europe/Berlin", Start: "2026-01-01T00:00:00Z"},
	{Schedule: "30 1 * * SUN", Zone: "Europe/London", Start: "2026-10-20T00:00:00Z"},
	{Schedule: "*/10 2 * * *", Zone: "America/New_York", Start: "2026-03-08T06:59:59Z"},
	{Schedule: "*/20 1 * * *", Zone: "America/New_York", Start: "2026-11-01T05:10:00Z"},
	{Schedule: "@daily", Zone: "America/Sao_Paulo", Start: "2018-11-02T12:00:00Z"},
	{Schedule: "@weekly", Zone: "America/Havana", Start: "2026-02-27T12:00:00Z"},
	{Schedule: "@monthly", Zone: "Europe/Berlin", Start: "2026-01-15T12:00:00Z"},
	{Schedule: "@yearly", Zone: "Australia/Lord_Howe", Start: "2026-01-15T12:00:00Z"},
	{Schedule: "@hourly", Zone: "Pacific/Chatham", Start: "2026-11-20T12:00:00Z"},
	{Schedule: "0 0 * * *", Zone: "UTC", Start: evening},
	{Schedule: "0 0 * * *", Zone: "Etc/GMT+5", Start: evening},
	{Schedule: "0 0 * * *", Zone: "US/Eastern", Start: evening},
	{Schedule: "0 0 * * *", Zone: "Asia/Calcutta", Start: evening},
	{Schedule: "0 0 * * *", Zone: "GMT", Start: evening},
	{Schedule: "0 0 * * *", Zone: "EST5EDT", Start: evening},
	{Schedule: "0 0 * * *", Zone: "America/Argentina/ComodRivadavia", Start: evening},
}

// every are the schedules that count from their start.
var every = []string{
	"@every 1h", "@every 15m", "@every 90s", "@every 1h30m", "@every 30m1h", "@every 1h1h", "@every 1.5h", "@every .5h",
	"@every 1.h", "@every 2h0m0s", "@every +1h", "@every 24h", "@every 8760h", "@every 1s", "@every 1.9s",
	"@every 1m0.999s", "@every 1500ms", "@every 500ms", "@every 999ms", "@every 1ms", "@every 1us", "@every 1µs",
	"@every 1μs", "@every 1ns", "@every 3600000000000ns", "@every 1h1ms", "@every 0h5m", "@every 0.1m", "@every 0.0025h",
	"@every 2s999ms999us999ns", "@every 00005m", "@every 0.33333333333333333333h",
	"@every 200000h",
}

const (
	noLeapDay = "the library gives up after five years, and 2100 has no leap day; a later question would be answered"
	noPause   = "a pause of nothing or less is a mistake, and the library makes it a run every second"
)
