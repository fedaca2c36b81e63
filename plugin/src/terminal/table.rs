//! Tables in columns, as kubectl prints them.

use super::text::{fit, width_of};
use super::{Look, Paint, visible};

/// Between two columns: as kubectl has it, and where the terminal is narrow.
const GAPS: (usize, usize) = (3, 2);

/// The narrowest that a column is cut to.
const NARROWEST: usize = 8;

/// A text in a table.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Cell {
    text: String,
    paint: Paint,
}

/// Rows under a heading. Where the terminal is too narrow, the widest columns of text are cut.
#[derive(Clone, Debug)]
#[must_use]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

#[derive(Clone, Debug)]
struct Column {
    heading: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// Never cut: a name that is typed again, or a number.
    Whole,
    /// Likewise, at the right.
    Number,
    /// Cut where there is no room.
    Prose,
}

impl Cell {
    /// A text in a colour.
    pub fn new(paint: Paint, text: impl AsRef<str>) -> Self {
        Self { text: visible(text.as_ref()), paint }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::new(Paint::Plain, text)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::new(Paint::Plain, text)
    }
}

impl Table {
    /// Without columns and rows.
    pub fn new() -> Self {
        Self { columns: Vec::new(), rows: Vec::new() }
    }

    /// A column whose texts are never cut.
    pub fn whole(self, heading: &'static str) -> Self {
        self.column(heading, Kind::Whole)
    }

    /// A column of numbers.
    pub fn number(self, heading: &'static str) -> Self {
        self.column(heading, Kind::Number)
    }

    /// A column whose texts are cut where there is no room.
    pub fn prose(self, heading: &'static str) -> Self {
        self.column(heading, Kind::Prose)
    }

    fn column(mut self, heading: &'static str, kind: Kind) -> Self {
        self.columns.push(Column { heading, kind });
        self
    }

    /// Adds a row, with a cell for each column.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The table in lines.
    pub fn render(&self, look: Look) -> String {
        let (widths, gap) = self.widths(look.width);
        let headings = self.columns.iter().map(|column| Cell::new(Paint::Faint, column.heading)).collect();
        let mut lines = String::new();
        for row in std::iter::once(&headings).chain(&self.rows) {
            lines.push_str(self.line(row, &widths, gap, look).trim_end());
            lines.push('\n');
        }
        lines
    }

    fn line(&self, row: &[Cell], widths: &[usize], gap: usize, look: Look) -> String {
        let mut line = String::new();
        let last = row.len().saturating_sub(1);
        for (at, ((cell, column), width)) in row.iter().zip(&self.columns).zip(widths).enumerate() {
            let text = fit(&cell.text, *width);
            let padding = " ".repeat(width.saturating_sub(width_of(&text)));
            let painted = look.paint(cell.paint, &text);
            match column.kind {
                Kind::Number => line.extend([padding.as_str(), &painted]),
                _ if at == last => line.push_str(&painted),
                _ => line.extend([painted.as_str(), &padding]),
            }
            if at < last {
                line.push_str(&" ".repeat(gap));
            }
        }
        line
    }

    fn widths(&self, room: Option<usize>) -> (Vec<usize>, usize) {
        let widest = |at: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(at)).map(|cell| width_of(&cell.text));
            cells.chain(self.columns.get(at).map(|column| width_of(column.heading))).max().unwrap_or(0)
        };
        let mut widths: Vec<_> = (0..self.columns.len()).map(widest).collect();
        let all = |widths: &[usize], gap: usize| {
            widths.iter().sum::<usize>() + gap * widths.len().saturating_sub(1)
        };
        let Some(room) = room.filter(|room| all(&widths, GAPS.0) > *room) else { return (widths, GAPS.0) };
        loop {
            let Some(over) = all(&widths, GAPS.1).checked_sub(room).filter(|over| *over > 0) else {
                return (widths, GAPS.1);
            };
            let prose = self.columns.iter().zip(widths.iter_mut()).filter(|(column, width)| {
                column.kind == Kind::Prose && **width > NARROWEST.max(width_of(column.heading))
            });
            let Some((column, width)) = prose.max_by_key(|(_, width)| **width) else {
                return (widths, GAPS.1);
            };
            *width = (*width - over.min(*width)).max(NARROWEST.max(width_of(column.heading)));
        }
    }
}

impl Default for Table {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new().whole("NAME").number("COUNT").prose("MESSAGE");
        table.row(["a-name".into(), "5".into(), Cell::new(Paint::Bad, "it failed for a long reason")]);
        table.row(["b".into(), "1200".into(), "".into()]);
        table
    }

    #[test]
    fn columns_stand_under_each_other_and_prose_is_cut_to_the_terminal() {
        let wide = Look { width: None, colour: false };
        assert_eq!(
            table().render(wide),
            "NAME     COUNT   MESSAGE\na-name       5   it failed for a long reason\nb         1200\n"
        );
        let narrow = Look { width: Some(30), colour: false };
        assert_eq!(
            table().render(narrow),
            "NAME    COUNT  MESSAGE\na-name      5  it failed for…\nb        1200\n"
        );
    }

    #[test]
    fn colour_takes_no_room() {
        let look = Look { width: Some(30), colour: true };
        let plain = anstream::adapter::strip_str(&table().render(look)).to_string();
        assert_eq!(plain, table().render(Look { colour: false, ..look }));
    }

    #[test]
    fn what_an_object_holds_is_no_command_to_the_terminal() {
        let mut table = Table::new().whole("NAME");
        table.row(["\u{1b}[2Ja\nb".into()]);
        assert_eq!(table.render(Look { width: None, colour: false }), "NAME\n [2Ja b\n");
    }
}
