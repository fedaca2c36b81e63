//! What people see, letter for letter: at 80 and 160 columns, with colour and without, and into a pipe. After a change that is
//! meant: `make generate`.

use std::path::PathBuf;

use super::{history, list, status, top};
use crate::act::{self, Announcement, Verb};
use crate::sample::{self, now};
use crate::terminal::Look;

const LOOKS: [(&str, Look); 5] = [
    ("80", Look { width: Some(80), colour: false }),
    ("80-colour", Look { width: Some(80), colour: true }),
    ("160", Look { width: Some(160), colour: false }),
    ("160-colour", Look { width: Some(160), colour: true }),
    ("pipe", Look { width: None, colour: false }),
];

/// What each command prints, one after the other.
fn session(look: Look) -> String {
    let policies = list::sorted(sample::all(), now());
    let columns = |namespace, wide| list::Columns { namespace, wide };
    let accounts = top::accounts(&policies, &[sample::shared_connection()]);
    let mut printed = vec![
        ("list".to_owned(), list::render(&policies, columns(false, false), now(), look)),
        ("list -A".to_owned(), list::render(&policies, columns(true, false), now(), look)),
        ("list -o wide".to_owned(), list::render(&policies, columns(false, true), now(), look)),
        ("top".to_owned(), top::render(&accounts, false, now(), look)),
        ("top -o wide".to_owned(), top::render(&accounts, true, now(), look)),
    ];
    for policy in &policies {
        let text = status::render(policy, None, now(), look);
        printed.push((format!("status {}", policy.name()), text));
    }
    for (option, is_wide) in [("", false), (" -o wide", true)] {
        let text = history::render(&sample::scheduled(), is_wide, now(), look);
        printed.push((format!("history resume-payments{option}"), text));
    }
    let mut session = String::new();
    for (typed, text) in printed {
        session.extend(["$ kubectl dlq ", &typed, "\n", &text, "\n"]);
    }
    session
}

/// What each command says before it acts on each policy.
fn announcements() -> String {
    let mut text = String::new();
    for policy in sample::all() {
        let verbs = [
            ("cancel", Verb::Cancel),
            ("pause", Verb::Pause { reason: "incident-7".to_owned() }),
            ("unpause", Verb::Unpause),
            ("suspend", Verb::Suspend),
            ("unsuspend", Verb::Unsuspend),
            ("reset", Verb::Reset),
        ];
        let mut said: Vec<_> = verbs.map(|(name, verb)| (name, verb.announcement(&policy, now()))).into();
        said.push(("run", act::announced_run(&policy, false, now())));
        said.push(("run --dry-run", act::announced_run(&policy, true, now())));
        said.push(("approve", act::approve::announcement(&policy, now())));
        for (name, announcement) in said {
            let words = match announcement {
                Announcement::About(words) => words,
                Announcement::Already(words) => format!("(nothing to do) {words}"),
                Announcement::Refused(words) => format!("error: {words}\n"),
            };
            text.extend([&format!("$ kubectl dlq {name} {}\n", policy.name()), words.as_str(), "\n"]);
        }
    }
    text
}

/// Every picture, and the file that it is in.
fn pictures() -> Vec<(&'static str, String)> {
    let sessions = LOOKS.map(|(name, look)| (name, session(look)));
    sessions.into_iter().chain([("announcements", announcements())]).collect()
}

fn file(name: &str) -> PathBuf {
    let folder: PathBuf = [env!("CARGO_MANIFEST_DIR"), "src", "see", "golden"].iter().collect();
    folder.join(format!("{name}.txt"))
}

#[test]
fn people_see_what_they_are_meant_to_see() {
    #[expect(clippy::disallowed_methods, reason = "a test has no configuration")]
    let update = std::env::var("UPDATE_GENERATED").is_ok_and(|value| value == "1");
    for (name, text) in pictures() {
        if update {
            std::fs::write(file(name), &text).unwrap();
        }
        let expected = std::fs::read_to_string(file(name)).unwrap_or_default();
        let differs = text.lines().zip(expected.lines()).find(|(now, before)| now != before);
        assert!(text == expected, "{name}.txt, now and before; `make generate` writes it: {differs:#?}");
    }
}

#[test]
fn no_line_is_wider_than_a_wide_terminal() {
    let widest = session(LOOKS[2].1).lines().map(crate::terminal::width_of).max();
    assert!(widest <= Some(160), "{widest:?}");
}

#[test]
fn colour_changes_no_word() {
    for (plain, coloured) in [(LOOKS[0].1, LOOKS[1].1), (LOOKS[2].1, LOOKS[3].1)] {
        let coloured = session(coloured);
        assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), session(plain));
    }
}
