//! Output that is drawn again: a whole screen, or one line.

use std::fmt::Write as _;

use super::text::width_of;
use super::{Reader, print, tell};
use crate::outcome::Problem;

const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
const CLEAR_TO_END_OF_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";
const HOME: &str = "\x1b[H";

/// The terminal's second screen, which leaves the first one as it was.
pub struct Screen(());

impl Screen {
    /// Takes the screen until this is dropped.
    pub fn enter() -> Result<Self, Problem> {
        print(ENTER)?;
        Ok(Self(()))
    }

    /// Draws from the top; what does not fit is left out. Without a flash, as nothing is cleared that is drawn again.
    pub fn draw(&mut self, text: &str) -> Result<Reader, Problem> {
        let rows = terminal_size::terminal_size().map_or(24, |(_, height)| usize::from(height.0));
        let mut frame = HOME.to_owned();
        for (at, line) in text.lines().take(rows.max(1)).enumerate() {
            let start = if at == 0 { "" } else { "\r\n" };
            let _ = write!(frame, "{start}{line}{CLEAR_TO_END_OF_LINE}");
        }
        frame.push_str(CLEAR_BELOW);
        print(&frame)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // With a closed output there is nothing to restore.
        let _ = print(LEAVE);
    }
}

/// One line on standard error that is drawn again and again.
#[derive(Debug, Default)]
pub struct LiveLine {
    /// How many columns the line on the terminal takes.
    drawn: usize,
}

impl LiveLine {
    /// Draws the line over the one before. `columns` is the width of the terminal now: where it shrank, the line before takes
    /// several rows by now.
    pub fn draw(&mut self, plain: &str, painted: &str, columns: usize) -> Result<Reader, Problem> {
        let text = format!("{}{painted}", self.over(columns));
        self.drawn = width_of(plain);
        tell(&text)
    }

    /// Takes the line away.
    pub fn clear(&mut self, columns: usize) -> Result<Reader, Problem> {
        if self.drawn == 0 {
            return Ok(Reader::There);
        }
        let text = self.over(columns);
        self.drawn = 0;
        tell(&text)
    }

    fn over(&self, columns: usize) -> String {
        let rows = self.drawn.saturating_sub(1) / columns.max(1);
        let up = if rows > 0 { format!("\x1b[{rows}A") } else { String::new() };
        format!("\r{up}{CLEAR_BELOW}")
    }
}
