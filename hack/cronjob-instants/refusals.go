package main

// refusedSchedules are refused by CronJob; were one accepted, no table would be written.
var refusedSchedules = []string{
	// Not five fields.
	"", " ", "\t\n", "*", "* *", "* * *", "* * * *", "* * * * * *", "* * * * * * *", "0 0 * * * UTC", "0 0 * * MON 2026",
	"tz=UTC * * * * *", "*/ 5 * * * *", "1, 2 * * * *",
	// Zones.
	"TZ=UTC * * * * *", "CRON_TZ=UTC * * * * *", "TZ=UTC", "TZ=", "TZ=0", "*-TZ * * * *", "TZ=Mars/Olympus * * * * *",
	"CRON_TZ=Europe/Berlin @daily",
	// Values beyond a field.
	"60 * * * *", "0-60 * * * *", "* 24 * * *", "* 0-24 * * *", "* * 0 * *", "* * 32 * *", "* * 0-5 * *", "* * 30-32 * *",
	"* * * 0 *", "* * * 13 *", "* * * 0-3 *", "* * * 11-13 *", "* * * * 7", "* * * * 0-7", "* * * * 5-7", "* * * * 6,7",
	"* * * * 7/2", "* * * * 8", "60/5 * * * *", "* 24/1 * * *", "*,60 * * * *", "99999 * * * *", "* * 32/40 * *",
	"9223372036854775808 * * * *", "*/9223372036854775808 * * * *", "99999999999999999999999 * * * *",
	// Ranges and steps.
	"5-1 * * * *", "30-10/5 * * * *", "* * * DEC-JAN *", "* * * * SAT-SUN", "* * * * fri-mon", "*/0 * * * *",
	"1-5/0 * * * *", "5/0 * * * *", "*/-5 * * * *", "-5 * * * *", "-0 * * * *", "-1-5 * * * *", "1--5 * * * *", "1- * * * *",
	"1-2-3 * * * *", "1-5-9/2 * * * *", "*/ * * * *", "/5 * * * *", "5/ * * * *", "*/2/3 * * * *", "*// * * * *",
	"- * * * *", "/ * * * *", "*/5-10 * * * *", "*/1,*/0 * * * *",
	// Not numbers.
	"a * * * *", "** * * * *", "*5 * * * *", "5* * * * *", "1.5 * * * *", "1e1 * * * *", "0x10 * * * *", "1_0 * * * *",
	"\u0665 * * * *", "+ * * * *", "++5 * * * *", "5; * * * *", "'5' * * * *", "~ * * * *", "0~30 * * * *",
	// Names where none are, and names that are not.
	"MON * * * *", "0 JAN * * *", "0 0 JAN * *", "0 0 MON * *", "0 0 * MON *", "0 0 * * JAN", "0 0 * january *",
	"0 0 * * monday", "0 0 * * MO", "0 0 * JA *", "0 0 * */jan *", "0 0 * * */MON", "0 0 * * MON1", "0 0 * * MON-",
	"0 0 * * XYZ", "0 0 * *,xyz *",
	// What other crons have.
	"0 0 L * *", "0 0 L-3 * *", "0 0 15W * *", "0 0 LW * *", "0 0 * * 5L", "0 0 * * 5#2", "0 0 * * MON#1", "H * * * *",
	"H/15 * * * *", "H(0-9) * * * *", "0 0 1W * ?", "0 0 * * 1W", "!5 * * * *", "0 0 LLL * *", "0 0 * * LLL", "HHH * * * *",
	"R * * * *", "0 0 C * *",
	// Macros.
	"@", "@reboot", "@Daily", "@DAILY", "@dayly", "@daily ", " @daily", "@ daily", "@daily *", "@every_minute", "@secondly",
	"@minutely", "@quarterly", "@startup", "@fortnightly", "@once", "@daily\n", "daily",
	// Pauses.
	"@every", "@every ", "@every  1h", "@every\t1h", "@every 1h ", " @every 1h", "@every 1 h", "@every 1h 30m", "@every 5",
	"@every h", "@every soon", "@every 1d", "@every 1w", "@every 1y", "@every 1H", "@every 1hour", "@every 1min",
	"@every 5M", "@every PT1H", "@every P1D", "@every 01:30:00", "@every 1h30", "@every .h", "@every .", "@every -",
	"@every +", "@every --1h", "@every 1,5h", "@every 1e3s", "@every 1h-30m", "@every 2562048h", "@every 9223372037s",
	"@every 9999999999999999999999h", "@Every 1h", "@EVERY 1h", "@every 1m s", "@every 0x1h", "@every 1ｈ", "@every ∞",
}

var refusedZones = []string{
	"Local", "local", "LOCAL", "Mars/Olympus", "europe/berlin", "Europe/berlin", "EUROPE/BERLIN", "Etc/Unknown", "+02:00",
	"GMT+2", "UTC+1", "utc", "Europe", "Europe/", "/Europe/Berlin", "Europe//Berlin", "Europe/../Europe/Berlin",
	"./Europe/Berlin", "../etc/passwd", "Europe/Berlin ", " Europe/Berlin", "Europe Berlin", "CEST-2", "-Europe/Berlin",
	"Z", "BST", "Europe/Berlin\x00",
}
