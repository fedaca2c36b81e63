//! What the five fields match: days of the calendar, and times on each of them. There are no zones here.

use std::iter::successors;

use cronexpr::{Crontab, FallbackTimezoneOption, ParseOptions};
use jiff::civil::{Date, DateTime, Time, date, time};
use jiff::tz::Offset;

use super::expression::translate;

/// A leap year has every day that there is.
const LEAP_YEAR: i16 = 2000;

/// The parser reads the fields and says whether a day matches. It is not asked for the next instant: around shifts of
/// less than an hour (`Australia/Lord_Howe`) it does not return, it cannot look back, and it gives up after four years.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    days: Crontab,
    months: Vec<i8>,
    /// The times on a day that matches, ascending and at least one.
    times: Vec<Time>,
}

impl Pattern {
    pub(super) fn parse(expression: &str) -> Result<Self, String> {
        let [minute, hour, day, month, weekday] = translate(expression)?;
        let only = |minute: &str, hour: &str, month: &str| crontab(&format!("{minute} {hour} * {month} *"));
        let (minutes, hours, in_month) =
            (only(&minute, "*", "*")?, only("*", &hour, "*")?, only("*", "*", &month)?);
        let (first_day, last_day) = (date(LEAP_YEAR, 1, 1), date(LEAP_YEAR, 12, 31));
        let minutes: Vec<_> = (0..60).filter(|at| matches(&minutes, first_day.at(0, *at, 0, 0))).collect();
        let hours = (0..24).filter(|at| matches(&hours, first_day.at(*at, 0, 0, 0)));
        let months = (1..=12).filter(|at| matches(&in_month, date(LEAP_YEAR, *at, 1).at(0, 0, 0, 0)));
        let pattern = Self {
            days: crontab(&format!("* * {day} {month} {weekday}"))?,
            months: months.collect(),
            times: hours
                .flat_map(|hour| minutes.iter().map(move |minute| time(hour, *minute, 0, 0)))
                .collect(),
        };
        if pattern.days(first_day, last_day).next().is_none() {
            return Err("there is no such day".to_owned());
        }
        Ok(pattern)
    }

    /// The first match not before `from` and before `until`.
    pub(super) fn first(&self, from: DateTime, until: DateTime) -> Option<DateTime> {
        self.days(from.date(), until.date())
            .find_map(|day| self.on(day, from, until).first().map(|time| day.to_datetime(*time)))
    }

    /// The last match not before `from` and before `until`.
    pub(super) fn last(&self, from: DateTime, until: DateTime) -> Option<DateTime> {
        self.days_back(until.date(), from.date())
            .find_map(|day| self.on(day, from, until).last().map(|time| day.to_datetime(*time)))
    }

    /// How many matches are not before `from` and before `until`.
    pub(super) fn count(&self, from: DateTime, until: DateTime) -> usize {
        self.days(from.date(), until.date()).map(|day| self.on(day, from, until).len()).sum()
    }

    /// The times on a day that matches, which are not before `from` and before `until`.
    fn on(&self, day: Date, from: DateTime, until: DateTime) -> &[Time] {
        let before = |bound: DateTime| self.times.partition_point(|time| day.to_datetime(*time) < bound);
        let (start, end) = (before(from), before(until));
        self.times.get(start..end).unwrap_or_default()
    }

    fn days(&self, first: Date, last: Date) -> impl Iterator<Item = Date> {
        self.walk(first, Date::last_of_month, Date::tomorrow)
            .take_while(move |day| *day <= last)
            .filter(|day| self.is_on(*day))
    }

    fn days_back(&self, last: Date, first: Date) -> impl Iterator<Item = Date> {
        self.walk(last, Date::first_of_month, Date::yesterday)
            .take_while(move |day| *day >= first)
            .filter(|day| self.is_on(*day))
    }

    /// Goes from day to day, but over months that do not match at once.
    fn walk(
        &self,
        start: Date,
        edge: fn(Date) -> Date,
        step: fn(Date) -> Result<Date, jiff::Error>,
    ) -> impl Iterator<Item = Date> {
        successors(Some(start), move |day| step(if self.is_in_month(*day) { *day } else { edge(*day) }).ok())
    }

    fn is_in_month(&self, day: Date) -> bool {
        self.months.contains(&day.month())
    }

    fn is_on(&self, day: Date) -> bool {
        self.is_in_month(day) && matches(&self.days, day.at(0, 0, 0, 0))
    }
}

fn crontab(fields: &str) -> Result<Crontab, String> {
    let mut options = ParseOptions::default();
    options.fallback_timezone_option = FallbackTimezoneOption::UTC;
    cronexpr::parse_crontab_with(fields, options).map_err(|error| {
        let text = error.to_string();
        // The parser draws the fields and a caret; what is wrong follows the caret.
        text.rsplit_once("^ ").map_or(text.as_str(), |(_, problem)| problem).to_owned()
    })
}

fn matches(crontab: &Crontab, at: DateTime) -> bool {
    Offset::UTC.to_timestamp(at).is_ok_and(|at| crontab.matches(at).unwrap_or(false))
}
