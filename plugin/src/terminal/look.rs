//! How output looks: how wide it may be, and whether it has colour.

use anstream::ColorChoice;
use anstyle::{AnsiColor, Style};

/// How output looks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Look {
    /// How many columns there are; without a limit where the output is no terminal.
    pub width: Option<usize>,
    /// Whether there is colour.
    pub colour: bool,
}

/// What a colour stands for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Paint {
    /// No colour.
    #[default]
    Plain,
    /// A heading.
    Strong,
    /// What matters least.
    Faint,
    /// As it should be.
    Good,
    /// Under way, or held on purpose.
    Busy,
    /// A person is needed soon.
    Warning,
    /// Wrong.
    Bad,
}

impl Look {
    /// That of standard output. There is no colour with `NO_COLOR`, nor where it is no terminal.
    pub fn of_output() -> Self {
        let colour = anstream::AutoStream::choice(&std::io::stdout()) != ColorChoice::Never;
        let width = super::is_output_terminal().then(|| columns(terminal_size::terminal_size())).flatten();
        Self { width, colour }
    }

    /// That of standard error, where questions and progress go.
    pub fn of_errors() -> Self {
        let colour = anstream::AutoStream::choice(&std::io::stderr()) != ColorChoice::Never;
        Self { width: columns(terminal_size::terminal_size_of(std::io::stderr())), colour }
    }

    /// The text in the colour of what it stands for.
    pub fn paint(&self, paint: Paint, text: &str) -> String {
        let style = style(paint);
        if self.colour && style != Style::new() && !text.is_empty() {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }
}

fn columns(size: Option<(terminal_size::Width, terminal_size::Height)>) -> Option<usize> {
    size.map(|(width, _)| usize::from(width.0)).filter(|width| *width > 0)
}

fn style(paint: Paint) -> Style {
    match paint {
        Paint::Plain => Style::new(),
        Paint::Strong => Style::new().bold(),
        Paint::Faint => Style::new().dimmed(),
        Paint::Good => AnsiColor::Green.on_default(),
        Paint::Busy => AnsiColor::Cyan.on_default(),
        Paint::Warning => AnsiColor::Yellow.on_default(),
        Paint::Bad => AnsiColor::Red.on_default().bold(),
    }
}
