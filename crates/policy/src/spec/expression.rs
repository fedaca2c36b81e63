//! `match.expression`: a CEL expression over an entry, read once and evaluated within bounds.

mod shape;

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use cel::extractors::This;
use cel::parser::{ParseError, Parser};
use cel::{Context, FunctionContext, IdedExpr, Value};
use jiff::Timestamp;
use regex::Regex;

pub(crate) use self::shape::Judged;
use self::shape::{BODY, CREATED_AT, HEADERS, MOST_STEPS, Shape, Surroundings, VARIABLES, regex};
use dlq_upstash::types::{Detail, ListedEntry};

/// The parser takes up to 40 KiB of stack for each level, and a name of a thousand parts is a level each.
const PARSER_STACK_BYTES: usize = 64 << 20;
const MOST_BRACKETS: u16 = 16;
/// So many expressions are kept once they were read.
const MOST_KNOWN: usize = 512;

/// An expression that can be evaluated.
#[derive(Clone)]
pub struct Expression {
    source: Arc<str>,
    program: Arc<IdedExpr>,
    shape: Shape,
    /// The regular expressions that are written out.
    patterns: Arc<HashMap<String, Regex>>,
}

/// What was read before: a policy is read at every turn.
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
        let read = parse(source).and_then(|program| Self::new(source, program));
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
fn parse(source: &str) -> Result<IdedExpr, String> {
    let parser = || Parser::new().max_recursion_depth(MOST_BRACKETS).parse(source);
    // A fault of the parser is one of the expression.
    let parsed = catch_unwind(|| stacker::grow(PARSER_STACK_BYTES, parser));
    let Ok(parsed) = parsed else { return Err("cannot be read".to_owned()) };
    parsed.map_err(|errors| {
        let first = errors.errors.into_iter().next();
        let place = |error: ParseError| {
            format!("line {}, column {}: {}", error.pos.0, error.pos.1, plain(&error.msg))
        };
        first.map_or_else(|| "cannot be read".to_owned(), place)
    })
}

/// The parser's words, without what only its authors understand.
fn plain(message: &str) -> &str {
    let message = message.strip_prefix("Syntax error: ").unwrap_or(message);
    let message = message.split(" expecting {").next().unwrap_or(message);
    if message.contains("Recursion limit") { "has too many brackets in each other" } else { message }
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

#[cfg(test)]
#[path = "expression_tests.rs"]
mod tests;
