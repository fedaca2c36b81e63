//! What an expression is made of: which names it may use, and how much an evaluation can cost.

use std::collections::{BTreeSet, HashMap};

use cel::IdedExpr;
use cel::common::ast::{EntryExpr, Expr, LiteralValue};
use regex::{Regex, RegexBuilder};

use dlq_upstash::types::{Detail, ListedEntry};

/// The fields of `entry`, but for those of its response.
const FIELDS: [&str; 11] = [
    "dlqId",
    "workflowUrl",
    "workflowRunId",
    "labels",
    "attempts",
    "responseStatus",
    "failureFunctionState",
    "callerIp",
    "flowControlKey",
    CREATED_AT,
    "failedAt",
];
pub(super) const HEADERS: &str = "responseHeaders";
pub(super) const BODY: &str = "responseBody";
pub(super) const CREATED_AT: &str = "workflowCreatedAt";
/// What an expression may name that no macro introduces.
pub(super) const VARIABLES: [&str; 2] = ["entry", "now"];

/// What an expression may call.
const FUNCTIONS: [&str; 24] = [
    "bytes",
    "contains",
    "double",
    "duration",
    "endsWith",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getFullYear",
    "getHours",
    "getMilliseconds",
    "getMinutes",
    "getMonth",
    "getSeconds",
    "int",
    "matches",
    "max",
    "min",
    "size",
    "startsWith",
    "string",
    "timestamp",
    "uint",
];

/// How deep brackets and operators may lie in each other: evaluation takes room on the stack for each.
const MOST_LEVELS: usize = 32;
/// How many steps an evaluation may take, each over so many bytes of text.
pub(super) const MOST_STEPS: usize = 20_000;
const STEP_BYTES: usize = 16 * 1024;
/// The most text that it may make.
const MOST_BYTES: usize = 8 << 20;
/// What one use of a regular expression counts for, and one that is not written out has to be compiled each time.
const REGEX_STEPS: usize = 100;
const COMPILED_STEPS: usize = 1000;
/// The largest regular expression, compiled, in bytes.
const MOST_REGEX_BYTES: usize = 64 * 1024;

/// What an entry is, beside what a list shows of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Judged<'a> {
    /// As it was listed.
    pub(crate) entry: &'a ListedEntry,
    /// Its labels without those that count attempts.
    pub(crate) labels: &'a [&'a str],
    /// How often it was acted on.
    pub(crate) attempts: u32,
}

/// What an expression is made of, to know how long it can take.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shape {
    parts: usize,
    /// How deep macros lie in each other.
    macros: u32,
    /// The longest list that is written out.
    longest_list: usize,
    /// Each adds one text or list that is there before to another.
    additions: usize,
    /// Each may make what a macro made before twice as long.
    doublings: u32,
    /// Macros that make a list within another macro: each may make what was there before as many times as long as a list is.
    nested_lists: u32,
    /// The longest text that is written out.
    longest_text: usize,
    pub(super) detail: Detail,
    pub(super) reads_created_at: bool,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Surroundings {
    level: usize,
    macros: u32,
}

impl Shape {
    /// Takes an expression in. `names` are those that can be read in it.
    pub(super) fn measure<'a>(
        &mut self,
        ided: &'a IdedExpr,
        within: Surroundings,
        names: &mut BTreeSet<&'a str>,
        patterns: &mut HashMap<String, Regex>,
    ) -> Result<(), String> {
        let deeper = Surroundings { level: within.level + 1, ..within };
        if deeper.level > MOST_LEVELS {
            return Err("has too many operators or calls in each other; shorten it".to_owned());
        }
        self.parts += 1;
        self.macros = self.macros.max(within.macros);
        match &ided.expr {
            Expr::Literal(literal) => {
                if let LiteralValue::String(text) = literal {
                    self.longest_text = self.longest_text.max(text.inner().len());
                }
                Ok(())
            }
            Expr::Ident(name) if name == "entry" => {
                // An expression that reads the whole entry may read any field of it.
                self.detail = Detail::Response;
                Ok(())
            }
            Expr::Ident(name) if names.contains(name.as_str()) => Ok(()),
            Expr::Ident(name) => Err(format!("{name} is not known; there are entry and now")),
            Expr::Select(select) if matches!(&select.operand.expr, Expr::Ident(name) if name == "entry") => {
                self.read_field(&select.field)
            }
            Expr::Select(select) => self.measure(&select.operand, deeper, names, patterns),
            Expr::Call(call) => {
                let name = call.func_name.as_str();
                // Operators have names that nobody can write.
                if name.bytes().all(|byte| byte.is_ascii_alphanumeric()) && !FUNCTIONS.contains(&name) {
                    let known = FUNCTIONS.join(", ");
                    return Err(format!("{name} is not a known function; there are {known}, and macros"));
                }
                if name == "_+_" {
                    let is_of_macros = call.args.iter().any(names_of_macros);
                    self.additions += usize::from(!is_of_macros);
                    self.doublings += u32::from(is_of_macros);
                }
                if name == "matches" {
                    self.parts += note_pattern(call.args.last(), patterns)?;
                }
                let parts = call.target.as_deref().into_iter().chain(&call.args);
                parts.into_iter().try_for_each(|part| self.measure(part, deeper, names, patterns))
            }
            Expr::List(list) => {
                self.longest_list = self.longest_list.max(list.elements.len());
                self.note_copies(list.elements.iter());
                list.elements.iter().try_for_each(|part| self.measure(part, deeper, names, patterns))
            }
            Expr::Map(map) => {
                self.longest_list = self.longest_list.max(map.entries.len());
                self.note_copies(map.entries.iter().filter_map(|part| match &part.expr {
                    EntryExpr::MapEntry(part) => Some(&part.value),
                    EntryExpr::StructField(_) => None,
                }));
                map.entries.iter().try_for_each(|part| match &part.expr {
                    EntryExpr::MapEntry(part) => {
                        self.measure(&part.key, deeper, names, patterns)?;
                        self.measure(&part.value, deeper, names, patterns)
                    }
                    EntryExpr::StructField(_) => Err("messages cannot be made".to_owned()),
                })
            }
            Expr::Comprehension(comprehension) => {
                self.measure(&comprehension.iter_range, deeper, names, patterns)?;
                let makes_a_list = matches!(comprehension.accu_init.expr, Expr::List(_));
                self.nested_lists += u32::from(makes_a_list && within.macros > 0);
                let within = Surroundings { macros: within.macros + 1, ..deeper };
                let mut names = names.clone();
                names.extend([comprehension.iter_var.as_str(), comprehension.accu_var.as_str()]);
                names.extend(comprehension.iter_var2.as_deref());
                let parts = [
                    &comprehension.accu_init,
                    &comprehension.loop_cond,
                    &comprehension.loop_step,
                    &comprehension.result,
                ];
                parts.into_iter().try_for_each(|part| self.measure(part, within, &mut names, patterns))
            }
            Expr::Struct(_) | Expr::Unspecified => Err("messages cannot be made".to_owned()),
        }
    }

    /// What a macro goes through and stands in a list several times is there several times.
    fn note_copies<'a>(&mut self, parts: impl Iterator<Item = &'a IdedExpr>) {
        let copies = parts.filter(|part| names_of_macros(part)).count();
        self.doublings += copies.max(1).next_power_of_two().ilog2();
    }

    fn read_field(&mut self, field: &str) -> Result<(), String> {
        self.detail = self.detail.max(match field {
            BODY => Detail::Response,
            HEADERS => Detail::Headers,
            _ => Detail::Brief,
        });
        self.reads_created_at |= field == CREATED_AT;
        let known: Vec<_> = FIELDS.into_iter().chain([HEADERS, BODY]).collect();
        if known.contains(&field) {
            return Ok(());
        }
        Err(format!("entry.{field} is not known; entry has {}", known.join(", ")))
    }

    /// The most steps that it can take on an entry.
    pub(super) fn steps(&self, judged: Judged<'_>) -> usize {
        let ListedEntry { response_headers, response_body, workflow_url, .. } = judged.entry;
        let doubled = 2_usize.saturating_pow(self.doublings);
        let longest = [judged.labels.len(), self.longest_list, response_headers.len()]
            .into_iter()
            .chain(response_headers.values().map(Vec::len))
            .max()
            .unwrap_or_default();
        let copied = longest.saturating_pow(self.nested_lists);
        let grown = doubled.saturating_mul(self.additions + 1).saturating_mul(copied);
        let rounds = longest.saturating_mul(grown).saturating_add(1).saturating_pow(self.macros);
        let labels = judged.labels.iter().map(|label| label.len());
        let headers = response_headers.values().flatten().map(String::len);
        let texts = [response_body, workflow_url].into_iter().flatten().map(String::len);
        let text = texts.chain(labels).chain(headers).chain([self.longest_text]).max().unwrap_or_default();
        let text = text.saturating_mul(grown);
        if grown > 1 && text.saturating_mul(rounds) > MOST_BYTES {
            return usize::MAX;
        }
        self.parts.saturating_mul(rounds).saturating_mul(1 + text / STEP_BYTES)
    }
}

/// Whether a part reads what a macro goes through. What macros make is added to under names that nobody can write.
fn names_of_macros(part: &IdedExpr) -> bool {
    match &part.expr {
        Expr::Ident(name) => !VARIABLES.contains(&name.as_str()) && !name.starts_with('@'),
        Expr::Select(select) => names_of_macros(&select.operand),
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).any(names_of_macros),
        Expr::List(list) => list.elements.iter().any(names_of_macros),
        // What comes of a macro may have been made of anything.
        Expr::Comprehension(_) | Expr::Map(_) | Expr::Struct(_) => true,
        Expr::Literal(_) | Expr::Unspecified => false,
    }
}

/// Reads a regular expression that is written out. What its use counts for.
fn note_pattern(pattern: Option<&IdedExpr>, patterns: &mut HashMap<String, Regex>) -> Result<usize, String> {
    let Some(Expr::Literal(LiteralValue::String(text))) = pattern.map(|pattern| &pattern.expr) else {
        return Ok(COMPILED_STEPS);
    };
    let text = text.inner().to_string();
    let read = regex(&text).map_err(|error| {
        let last = error.to_string().lines().last().unwrap_or_default().trim().to_owned();
        format!("matches({text:?}): {last}")
    })?;
    patterns.insert(text, read);
    Ok(REGEX_STEPS)
}

/// A regular expression of a bounded size.
pub(super) fn regex(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).size_limit(MOST_REGEX_BYTES).build()
}
