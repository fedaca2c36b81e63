//! `match.expression`: a CEL expression over an entry, read once and evaluated within bounds.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::thread;

use cel::common::ast::{EntryExpr, Expr, LiteralValue};
use cel::extractors::This;
use cel::parser::Parser;
use cel::{Context, FunctionContext, IdedExpr, Value};
use jiff::Timestamp;
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
const HEADERS: &str = "responseHeaders";
const BODY: &str = "responseBody";
const CREATED_AT: &str = "workflowCreatedAt";
/// What an expression may name that no macro introduces.
const VARIABLES: [&str; 2] = ["entry", "now"];

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
/// The parser takes up to 40 KiB of stack for each level, and a name of a thousand parts is a level each.
const PARSER_STACK_BYTES: usize = 64 << 20;
const MOST_BRACKETS: u16 = 16;
/// How many steps an evaluation may take, each over so many bytes of text.
const MOST_STEPS: usize = 20_000;
const STEP_BYTES: usize = 16 * 1024;
/// The most text that it may make.
const MOST_BYTES: usize = 8 << 20;
/// What one use of a regular expression counts for, and one that is not written out has to be compiled each time.
const REGEX_STEPS: usize = 100;
const COMPILED_STEPS: usize = 1000;
/// So many expressions are kept once they were read.
const MOST_KNOWN: usize = 512;
/// The largest regular expression, compiled, in bytes.
const MOST_REGEX_BYTES: usize = 64 * 1024;

/// An expression that can be evaluated.
#[derive(Clone)]
pub(crate) struct Expression {
    source: Arc<str>,
    program: Arc<IdedExpr>,
    shape: Shape,
    /// The regular expressions that are written out.
    patterns: Arc<HashMap<String, Regex>>,
}

/// What was read before: a policy is read at every turn, and to parse takes a thread of its own.
static KNOWN: LazyLock<Mutex<HashMap<String, Result<Expression, String>>>> = LazyLock::new(Mutex::default);

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.source).finish()
    }
}

/// An expression is what was written.
impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Expression {}

/// Why an entry has no verdict.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    /// A field that the expression reads is missing.
    MissingField,
    /// The evaluation failed, would take too long, or came to neither true nor false.
    Failed,
}

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

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub(crate) fn compile(source: &str) -> Result<Self, String> {
        let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(read) = known().get(source) {
            return read.clone();
        }
        // Where no thread can be had now, the next turn may have one.
        let parsed = parse(source).ok_or_else(|| "cannot be read now; it is tried again".to_owned())?;
        let read = parsed.and_then(|program| Self::new(source, program));
        let mut known = known();
        if known.len() >= MOST_KNOWN {
            known.clear();
        }
        known.insert(source.to_owned(), read.clone());
        read
    }

    fn new(source: &str, program: IdedExpr) -> Result<Self, String> {
        let mut shape = Shape::default();
        let mut patterns = HashMap::new();
        shape.measure(&program, Surroundings::default(), &mut BTreeSet::from(VARIABLES), &mut patterns)?;
        Ok(Self { source: source.into(), program: Arc::new(program), shape, patterns: Arc::new(patterns) })
    }

    /// What of each entry it reads.
    pub(crate) fn detail(&self) -> Detail {
        self.shape.detail
    }

    /// Whether it is true of an entry. `now`: the run's start.
    ///
    /// # Errors
    /// The entry has no verdict.
    pub(crate) fn is_true(&self, judged: Judged<'_>, now: Timestamp) -> Result<bool, Fault> {
        if self.shape.reads_created_at && judged.entry.workflow_created_at.is_none() {
            return Err(Fault::MissingField);
        }
        if self.shape.steps(judged) > MOST_STEPS {
            return Err(Fault::Failed);
        }
        let mut context = Context::default();
        let patterns = Arc::clone(&self.patterns);
        context.add_function(
            "matches",
            move |context: &FunctionContext<'_, '_>, This(text): This<Arc<String>>, pattern: Arc<String>| {
                if let Some(regex) = patterns.get(pattern.as_str()) {
                    return Ok(regex.is_match(&text));
                }
                regex(&pattern).map(|regex| regex.is_match(&text)).map_err(|error| context.error(error))
            },
        );
        context.add_variable_from_value("entry", entry(judged, now));
        context.add_variable_from_value("now", timestamp(now.as_millisecond()));
        // A fault of the library must cost one entry, and not the run.
        match catch_unwind(AssertUnwindSafe(|| Value::resolve(&self.program, &context))) {
            Ok(Ok(Value::Bool(verdict))) => Ok(verdict),
            _ => Err(Fault::Failed),
        }
    }
}

/// Parses on a stack of its own: the parser calls itself for each part, and a stack that is used up ends the process.
fn parse(source: &str) -> Option<Result<IdedExpr, String>> {
    thread::scope(|scope| {
        let parser = || {
            Parser::new().max_recursion_depth(MOST_BRACKETS).parse(source).map_err(|errors| {
                let first = errors.errors.into_iter().next();
                first.map_or_else(
                    || "cannot be read".to_owned(),
                    |error| {
                        // The parser counts columns from 1.
                        format!("line {}, column {}: {}", error.pos.0, error.pos.1, plain(&error.msg))
                    },
                )
            })
        };
        let thread = thread::Builder::new().stack_size(PARSER_STACK_BYTES).spawn_scoped(scope, parser);
        // A fault of the parser is one of the expression.
        Some(thread.ok()?.join().unwrap_or_else(|_| Err("cannot be read".to_owned())))
    })
}

/// The parser's words, without what only its authors understand.
fn plain(message: &str) -> &str {
    let message = message.strip_prefix("Syntax error: ").unwrap_or(message);
    let message = message.split(" expecting {").next().unwrap_or(message);
    if message.contains("Recursion limit") { "has too many brackets in each other" } else { message }
}

/// What an expression is made of, to know how long it can take.
#[derive(Clone, Copy, Debug, Default)]
struct Shape {
    parts: usize,
    /// How deep macros lie in each other.
    macros: u32,
    /// The longest list that is written out.
    longest_list: usize,
    /// Each adds one text or list that is there before to another.
    additions: usize,
    /// Each may make what a macro made before twice as long.
    doublings: u32,
    /// The longest text that is written out.
    longest_text: usize,
    detail: Detail,
    reads_created_at: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Surroundings {
    level: usize,
    macros: u32,
}

impl Shape {
    /// Takes an expression in. `names` are those that can be read in it.
    fn measure<'a>(
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
                // Whoever reads the whole entry may read any of it.
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
                list.elements.iter().try_for_each(|part| self.measure(part, deeper, names, patterns))
            }
            Expr::Map(map) => {
                self.longest_list = self.longest_list.max(map.entries.len());
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
    fn steps(&self, judged: Judged<'_>) -> usize {
        let ListedEntry { response_headers, response_body, workflow_url, .. } = judged.entry;
        let doubled = 2_usize.saturating_pow(self.doublings);
        let grown = doubled.saturating_mul(self.additions + 1);
        let longest = [judged.labels.len(), self.longest_list, response_headers.len()]
            .into_iter()
            .chain(response_headers.values().map(Vec::len))
            .max()
            .unwrap_or_default();
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

/// `entry`, as an expression sees it.
fn entry(judged: Judged<'_>, now: Timestamp) -> Value {
    let Judged { entry, labels, attempts } = judged;
    // Written out in full so that a new field cannot be forgotten here.
    let ListedEntry {
        id,
        workflow_url,
        workflow_run_id,
        workflow_created_at,
        labels: _,
        failure_function_state,
        caller_ip,
        flow_control_key,
        response_status,
        response_headers,
        response_body,
    } = entry;
    let text = |text: &Option<String>| Value::from(text.clone().unwrap_or_default());
    let texts = |texts: &mut dyn Iterator<Item = &str>| -> Value {
        texts.map(Value::from).collect::<Vec<_>>().into()
    };
    let headers: HashMap<String, Value> = response_headers
        .iter()
        .map(|(name, values)| (name.clone(), texts(&mut values.iter().map(String::as_str))))
        .collect();
    let fields = [
        ("dlqId", Value::from(id.0.as_str())),
        ("workflowUrl", text(workflow_url)),
        ("workflowRunId", text(workflow_run_id)),
        ("labels", texts(&mut labels.iter().copied())),
        ("attempts", Value::Int(attempts.into())),
        ("responseStatus", Value::Int(response_status.unwrap_or_default().into())),
        (HEADERS, headers.into()),
        (BODY, text(response_body)),
        ("failureFunctionState", text(failure_function_state)),
        ("callerIp", text(caller_ip)),
        ("flowControlKey", text(flow_control_key)),
        ("failedAt", timestamp(entry.failed_at().unwrap_or_else(|| now.as_millisecond()))),
    ];
    let created = workflow_created_at.map(|at| (CREATED_AT, timestamp(at)));
    let fields: HashMap<String, Value> =
        fields.into_iter().chain(created).map(|(name, value)| (name.to_owned(), value)).collect();
    fields.into()
}

/// A time, of Unix milliseconds; null where there is none such.
fn timestamp(millis: i64) -> Value {
    let text = Timestamp::from_millisecond(millis).map(|at| at.to_string());
    text.ok().and_then(|text| cel::functions::timestamp(Arc::new(text)).ok()).unwrap_or(Value::Null)
}

/// A regular expression of a bounded size.
fn regex(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).size_limit(MOST_REGEX_BYTES).build()
}

#[cfg(test)]
#[path = "expression_tests.rs"]
mod tests;
