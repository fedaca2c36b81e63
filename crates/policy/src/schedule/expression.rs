//! The five fields as CronJob reads them, written as the parser reads them.
//!
//! The two agree on what most fields mean. Where they do not, a field is written in other words: `N/2` with its end (in
//! the day of the week the parser would continue to 7, Sunday), a step that leaves the field as the first value, `?` as
//! `*`. And as both look for a star to decide whether the day of the month and the day of the week must both match, a
//! field begins with a star exactly where CronJob sees one: in any item of its list, unless a step has taken it away.

/// The fields in their order.
const FIELDS: [Field; 5] = [
    Field { name: "the minute", first: 0, last: 59, longest_step: 59 },
    Field { name: "the hour", first: 0, last: 23, longest_step: 23 },
    Field { name: "the day of the month", first: 1, last: 31, longest_step: 31 },
    Field { name: "the month", first: 1, last: 12, longest_step: 12 },
    Field { name: "the day of the week (Sunday is 0)", first: 0, last: 6, longest_step: 7 },
];

const STAR: &str = "*";

struct Field {
    name: &'static str,
    first: i64,
    last: i64,
    /// The longest step that the parser takes.
    longest_step: i64,
}

/// Returns the fields for the parser, or what is wrong. Names, and that ranges ascend, are left to the parser.
pub(super) fn translate(expression: &str) -> Result<[String; 5], String> {
    let parts: Vec<_> = expression.split_whitespace().collect();
    let [minute, hour, day, month, weekday] = parts[..] else {
        return Err(format!("not five fields but {}", parts.len()));
    };
    let [minutes, hours, days, months, weekdays] = &FIELDS;
    let (day, weekday) = match (days.list(day)?, weekdays.list(weekday)?) {
        (Some(day), Some(weekday)) => (day, weekday),
        // Either of two days matches when neither is a star; of an empty one and the other, the other.
        (Some(day), None) if !day.starts_with(STAR) => (day, STAR.to_owned()),
        (None, Some(weekday)) if !weekday.starts_with(STAR) => (STAR.to_owned(), weekday),
        _ => return Err("there is no day in it".to_owned()),
    };
    let filled = |field: &Field, list| {
        field.list(list)?.ok_or_else(|| format!("nothing is in {}, so that it never comes", field.name))
    };
    Ok([filled(minutes, minute)?, filled(hours, hour)?, day, filled(months, month)?, weekday])
}

impl Field {
    /// `None` when there is nothing between the commas, which CronJob skips.
    fn list(&self, list: &str) -> Result<Option<String>, String> {
        let items = list.split(',').filter(|item| !item.is_empty()).map(|item| self.item(item));
        let mut items = items.collect::<Result<Vec<_>, _>>()?;
        items.sort_by_key(|item| item != STAR);
        Ok((!items.is_empty()).then(|| items.join(",")))
    }

    fn item(&self, item: &str) -> Result<String, String> {
        let (values, step) = match item.split_once('/') {
            Some((values, step)) => (values, Some(self.step(step)?)),
            None => (item, None),
        };
        let (from, to) = match values.split_once('-') {
            // CronJob never looks at what a star is said to reach to.
            _ if matches!(values.split('-').next(), Some("*" | "?")) => {
                if step.is_none_or(|step| step == 1) {
                    return Ok(STAR.to_owned());
                }
                (self.first.to_string(), Some(self.last.to_string()))
            }
            Some((from, to)) => (self.value(from)?, Some(self.value(to)?)),
            None => (self.value(values)?, step.map(|_| self.last.to_string())),
        };
        Ok(match (to, step) {
            (None, _) => from,
            (Some(to), None) => format!("{from}-{to}"),
            (Some(to), Some(step)) if step <= self.longest_step => format!("{from}-{to}/{step}"),
            // Only from the first value to the last one the longest step still arrives somewhere.
            (Some(to), Some(_)) if from == self.first.to_string() && to == self.last.to_string() => from,
            (Some(to), Some(_)) => format!("{from}-{to}/{}", self.longest_step),
        })
    }

    fn step(&self, step: &str) -> Result<i64, String> {
        step.parse()
            .ok()
            .filter(|step| *step >= 1)
            .ok_or_else(|| format!("the step {step:?} in {}", self.name))
    }

    /// A number without its sign and zeros in front, or a name.
    fn value(&self, value: &str) -> Result<String, String> {
        let Self { name, first, last, .. } = self;
        if value.len() == 3 && value.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            return Ok(value.to_owned());
        }
        let number: i64 = value.parse().map_err(|_| format!("{value:?} in {name}"))?;
        if (*first..=*last).contains(&number) {
            Ok(number.to_string())
        } else {
            Err(format!("{value} in {name}, which goes from {first} to {last}"))
        }
    }
}
