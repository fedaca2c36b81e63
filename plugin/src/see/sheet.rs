//! Lines under labels, as `status` prints them.

use crate::terminal::{self, Look, Paint, wrapped};

/// The widest label and the space behind it.
const MARGIN: usize = 11;

/// Lines under labels.
pub(super) struct Sheet {
    pub(super) look: Look,
    pub(super) text: String,
}

impl Sheet {
    pub(super) fn new(look: Look) -> Self {
        Self { look, text: String::new() }
    }

    /// A text under a label, wrapped where the terminal ends.
    pub(super) fn line(&mut self, label: &str, paint: Paint, text: &str) {
        let room = self.look.width.map(|width| width.saturating_sub(MARGIN).max(20));
        let mut label = label.to_owned();
        for line in wrapped(&terminal::visible(text), room) {
            let padding = " ".repeat(MARGIN.saturating_sub(label.chars().count()));
            let line = format!(
                "{}{padding}{}",
                self.look.paint(Paint::Faint, &label),
                self.look.paint(paint, &line)
            );
            self.text.push_str(line.trim_end());
            self.text.push('\n');
            label.clear();
        }
    }

    pub(super) fn plain(&mut self, label: &str, text: &str) {
        self.line(label, Paint::Plain, text);
    }

    pub(super) fn gap(&mut self) {
        self.text.push('\n');
    }
}
