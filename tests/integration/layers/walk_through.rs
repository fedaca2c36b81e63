//! The way of a due policy from the watch to its first call, as CONTRIBUTING tells it.

use std::collections::BTreeSet;
use std::fs;

use testbed::workspace_root;

const MOST_FUNCTIONS: usize = 12;
const MOST_FILES: usize = 8;

/// A stop: a function, and the file that it is in.
struct Stop {
    function: String,
    file: String,
}

/// The lines of the walk-through: ``1. `Attempt::decide`, `path/of/file.rs`: what it does``.
fn stops() -> Vec<Stop> {
    let text = fs::read_to_string(workspace_root().join("CONTRIBUTING.md")).unwrap();
    let (_, section) = text.split_once("### From the watch to the first call").expect("the walk-through");
    let section = section.split_once("\n#").map_or(section, |(section, _)| section);
    let lines = section.lines().filter(|line| line.starts_with(|first: char| first.is_ascii_digit()));
    let stops = lines.map(|line| {
        let mut quoted = line.split('`').skip(1).step_by(2).map(str::to_owned);
        Stop { function: quoted.next().unwrap(), file: quoted.next().unwrap() }
    });
    stops.collect()
}

impl Stop {
    fn name(&self) -> &str {
        self.function.rsplit("::").next().unwrap_or(&self.function)
    }

    /// The text of the function, up to the brace at the indentation of its beginning.
    fn body(&self) -> String {
        let text = fs::read_to_string(workspace_root().join(&self.file)).unwrap();
        let head = format!("fn {}", self.name());
        let is_head =
            |line: &&str| line.split_once(&head).is_some_and(|(_, rest)| rest.starts_with(['(', '<']));
        let mut lines = text.lines().skip_while(|line| !is_head(line)).peekable();
        let first = lines.peek().unwrap_or_else(|| panic!("no {} in {}", self.function, self.file));
        let end = format!("{}}}", &first[..first.len() - first.trim_start().len()]);
        lines.take_while(|line| **line != end).collect::<Vec<_>>().join("\n")
    }
}

#[test]
fn the_walk_through_in_contributing_is_the_way_that_the_code_takes() {
    let stops = stops();
    assert!(stops.len() > 5 && stops.len() <= MOST_FUNCTIONS, "{} functions", stops.len());
    let files: BTreeSet<_> = stops.iter().map(|stop| &stop.file).collect();
    assert!(files.len() <= MOST_FILES, "{files:?}");
    for (at, stop) in stops.iter().enumerate() {
        let body = stop.body();
        assert!(body.lines().count() <= 60, "{} does not fit on a screen", stop.function);
        let called = |earlier: &Stop| {
            let body = earlier.body();
            body.match_indices(stop.name()).any(|(index, name)| {
                let before = body[..index].chars().next_back();
                let is_word = before.is_some_and(|before| before == '_' || before.is_alphanumeric());
                !is_word && body[index + name.len()..].starts_with('(')
            })
        };
        assert!(at == 0 || stops[..at].iter().any(called), "nobody before it calls {}", stop.function);
    }
}
