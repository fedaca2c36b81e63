//! What the word that is being typed may be, read off the command line's own definition.

use clap::{Arg, ArgAction, Command};

use crate::cluster::ClusterArgs;

/// What a word may be.
#[derive(Debug)]
pub(super) enum Candidates {
    /// One of these, each with a description behind a tab.
    Words(Vec<String>),
    /// The name of a policy that begins so.
    Policies {
        /// What is typed already.
        prefix: String,
        /// In which cluster and namespace, as typed before.
        cluster: ClusterArgs,
    },
    /// A file, or anything.
    Files,
}

/// What the last of these words may be.
pub(super) fn candidates(command: &Command, words: &[String]) -> Candidates {
    let (before, partial) =
        words.split_last().map_or((&[][..], ""), |(last, before)| (before, last.as_str()));
    let mut typed = Typed { command, positionals: 0, cluster: ClusterArgs::default() };
    let mut before = before.iter();
    while let Some(word) = before.next() {
        if let Some(arg) = typed.flag(word).filter(|arg| takes_value(arg) && !word.contains('=')) {
            match before.next() {
                Some(value) => typed.value(arg, value),
                None => return value_of(arg, partial, ""),
            }
        } else if let Some((arg, value)) = typed.flag(word).zip(word.split_once('=')) {
            typed.value(arg, value.1);
        } else if !word.starts_with('-') {
            typed.positional(word);
        }
    }
    typed.next(partial)
}

/// What is typed before.
struct Typed<'a> {
    command: &'a Command,
    positionals: usize,
    cluster: ClusterArgs,
}

impl<'a> Typed<'a> {
    fn flag(&self, word: &str) -> Option<&'a Arg> {
        let name = word.split_once('=').map_or(word, |(name, _)| name);
        self.command.get_arguments().find(|arg| {
            let is_long = name.strip_prefix("--").is_some_and(|long| arg.get_long() == Some(long));
            let mut characters = name.chars();
            let is_short = characters.next() == Some('-')
                && arg.get_short().is_some()
                && characters.next() == arg.get_short()
                && characters.next().is_none();
            is_long || is_short
        })
    }

    fn value(&mut self, arg: &Arg, value: &str) {
        let value = value.to_owned();
        match arg.get_id().as_str() {
            "kubeconfig" => self.cluster.kubeconfig = Some(value.into()),
            "context" => self.cluster.context = Some(value),
            "namespace" => self.cluster.namespace = Some(value),
            "as_user" => self.cluster.as_user = Some(value),
            _ => {}
        }
    }

    fn positional(&mut self, word: &str) {
        match self.command.find_subcommand(word) {
            Some(command) => self.command = command,
            None => self.positionals += 1,
        }
    }

    fn next(self, partial: &str) -> Candidates {
        if let Some((arg, (name, value))) = self.flag(partial).zip(partial.split_once('=')) {
            return value_of(arg, value, &format!("{name}="));
        }
        if partial.starts_with('-') {
            return Candidates::Words(self.flags(partial));
        }
        if self.command.has_subcommands() {
            let shown = self.command.get_subcommands().filter(|command| !command.is_hide_set());
            let words = shown.map(|command| described(command.get_name(), command.get_about()));
            return Candidates::Words(starting(words, partial));
        }
        match self.command.get_positionals().nth(self.positionals) {
            Some(arg) if arg.get_id() == "name" => {
                Candidates::Policies { prefix: partial.to_owned(), cluster: self.cluster }
            }
            Some(arg) => value_of(arg, partial, ""),
            None => Candidates::Words(Vec::new()),
        }
    }

    fn flags(&self, partial: &str) -> Vec<String> {
        let flags = self.command.get_arguments().filter(|arg| !arg.is_hide_set()).filter_map(|arg| {
            let long = arg.get_long()?;
            Some(described(&format!("--{long}"), arg.get_help()))
        });
        starting(flags, partial)
    }
}

fn takes_value(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Set | ArgAction::Append)
}

fn value_of(arg: &Arg, partial: &str, before: &str) -> Candidates {
    let values = arg.get_possible_values();
    if values.is_empty() || !takes_value(arg) {
        return Candidates::Files;
    }
    let words = values.iter().map(|value| described(value.get_name(), value.get_help()));
    Candidates::Words(starting(words, partial).into_iter().map(|word| format!("{before}{word}")).collect())
}

fn described(word: &str, about: Option<&clap::builder::StyledStr>) -> String {
    match about {
        Some(about) => format!("{word}\t{}", about.to_string().lines().next().unwrap_or_default()),
        None => word.to_owned(),
    }
}

fn starting(words: impl Iterator<Item = String>, partial: &str) -> Vec<String> {
    words.filter(|word| word.starts_with(partial)).collect()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Cli;

    fn words(line: &[&str]) -> Vec<String> {
        let mut command = Cli::command();
        command.build();
        let line: Vec<_> = line.iter().map(|word| (*word).to_owned()).collect();
        match candidates(&command, &line) {
            Candidates::Words(words) => {
                words.iter().filter_map(|word| word.split('\t').next()).map(str::to_owned).collect()
            }
            Candidates::Policies { prefix, cluster } => {
                vec![format!("policy {prefix} {}", cluster.namespace.unwrap_or_default())]
            }
            Candidates::Files => vec!["file".to_owned()],
        }
    }

    #[test]
    fn each_place_of_a_command_line_has_its_candidates() {
        for (line, expected) in [
            (&["his"][..], &["history"][..]),
            (&["un"], &["unpause", "unsuspend"]),
            (&["__"], &[]),
            (&["completion", ""], &["kubectl", "bash", "zsh", "fish"]),
            (&["list", "-o", ""], &["table", "wide", "json", "yaml", "name"]),
            (&["list", "-o", "j"], &["json"]),
            (&["list", "--output=y"], &["--output=yaml"]),
            (&["run", "--fail"], &["--fail-if-empty"]),
            (&["run", "pay"], &["policy pay "]),
            (&["run", "--wait", "-n", "payments", ""], &["policy  payments"]),
            (&["run", "--namespace=payments", "--reason", "run", "p"], &["policy p payments"]),
            (&["run", "payments", ""], &[]),
            (&["list", "--kubeconfig", ""], &["file"]),
        ] {
            assert_eq!(words(line), expected, "{line:?}");
        }
        assert!(words(&[""]).contains(&"status".to_owned()));
        assert!(words(&[]).contains(&"status".to_owned()));
    }
}
