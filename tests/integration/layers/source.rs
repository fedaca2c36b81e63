//! Enough of Rust's syntax to see which paths a file uses.

/// Where a file stands in the crate.
pub(super) struct Module {
    /// Empty for `lib.rs` and `main.rs`.
    path: Vec<String>,
    file: String,
}

impl Module {
    /// `policy/plan.rs` is `policy::plan`, `policy/mod.rs` is `policy`.
    pub(super) fn of(file: &str) -> Self {
        let mut path: Vec<String> = file.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
        if path.last().is_some_and(|name| name == "mod") || path == ["lib"] || path == ["main"] {
            path.pop();
        }
        Self { path, file: file.to_owned() }
    }

    pub(super) fn layer(&self) -> &str {
        self.path.first().map_or_else(|| self.file.trim_end_matches(".rs"), String::as_str)
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.path.clone()
    }

    /// A file of tests alone.
    pub(super) fn is_test(&self) -> bool {
        self.path.iter().any(|name| name == "tests" || name.ends_with("_tests"))
    }
}

struct Token {
    text: String,
    line: usize,
}

/// A file without its comments, its literals and its tests.
pub(super) struct Source {
    tokens: Vec<Token>,
    lines: usize,
}

/// The line that a path is used in, and the path without the leading `crate`.
type Used = (usize, Vec<String>);

impl Source {
    pub(super) fn before_tests(text: &str) -> Self {
        let lines: Vec<_> = text.lines().take_while(|line| *line != "#[cfg(test)]").collect();
        Self { tokens: tokens(&lines.join("\n")), lines: lines.len() }
    }

    pub(super) fn lines(&self) -> usize {
        self.lines
    }

    /// Every path into this crate.
    pub(super) fn used(&self, module: &Module) -> Vec<Used> {
        self.paths(module, |_| true)
    }

    /// Every path into this crate but for what is only offered under another name.
    pub(super) fn imported(&self, module: &Module) -> Vec<Used> {
        let is_offered = |index: usize| {
            index > 1 && self.text(index - 1) == "use" && ["pub", ")"].contains(&self.text(index - 2))
        };
        self.paths(module, |index| !is_offered(index))
    }

    fn paths(&self, module: &Module, counts: impl Fn(usize) -> bool) -> Vec<Used> {
        let mut used = Vec::new();
        for (index, token) in self.tokens.iter().enumerate() {
            let starts_path = index == 0 || self.text(index - 1) != "::";
            if !starts_path || self.text(index + 1) != "::" || !counts(index) {
                continue;
            }
            match token.text.as_str() {
                "crate" | "dlq_operator" => self.tree(index + 2, &[], &mut used),
                "self" => {
                    let mut base = module.path.clone();
                    base.extend(self.inline_modules_around(index));
                    self.tree(index + 2, &base, &mut used);
                }
                "super" => {
                    let mut base = module.path.clone();
                    base.extend(self.inline_modules_around(index));
                    let mut next = index;
                    while self.text(next) == "super" && self.text(next + 1) == "::" {
                        base.pop();
                        next += 2;
                    }
                    self.tree(next, &base, &mut used);
                }
                _ => {}
            }
        }
        used
    }

    /// The first line that has a word or, with `::`, a path, however it is imported.
    pub(super) fn first_line_with(&self, name: &str) -> Option<usize> {
        let parts: Vec<&str> = name.split("::").collect();
        (0..self.tokens.len()).find_map(|index| {
            let starts_path = index == 0 || self.text(index - 1) != "::";
            let line = self.tokens[index].line;
            if parts.len() == 1 {
                // A crate or a keyword; a type at any place of a path.
                let is_type = name.starts_with(char::is_uppercase);
                return (self.text(index) == name && (starts_path || is_type)).then_some(line);
            }
            if self.text(index) != parts[0] || self.text(index + 1) != "::" {
                return None;
            }
            let mut found = Vec::new();
            self.tree(index + 2, &[], &mut found);
            let rest = &parts[1..];
            found.into_iter().find_map(|(line, path)| {
                let begins =
                    path.len() >= rest.len() && path.iter().zip(rest).all(|(name, part)| name == part);
                begins.then_some(line)
            })
        })
    }

    pub(super) fn inline_modules(&self) -> Vec<String> {
        let is_module = |index: &usize| self.text(*index) == "mod" && is_name(self.text(index + 1));
        (0..self.tokens.len()).filter(is_module).map(|index| self.text(index + 1).to_owned()).collect()
    }

    fn text(&self, index: usize) -> &str {
        self.tokens.get(index).map_or("", |token| &token.text)
    }

    /// Follows what may come after `crate::`: names, lists in braces, `*`.
    fn tree(&self, mut index: usize, prefix: &[String], into: &mut Vec<Used>) {
        let mut path = prefix.to_vec();
        let line = self.tokens.get(index).map_or(0, |token| token.line);
        loop {
            if self.text(index) == "{" {
                let mut depth = 0;
                let mut starts_item = false;
                loop {
                    match self.text(index) {
                        "" => return,
                        "{" => {
                            depth += 1;
                            starts_item = depth == 1;
                        }
                        "}" if depth == 1 => return,
                        "}" => depth -= 1,
                        "," => starts_item = depth == 1,
                        _ if starts_item => {
                            self.tree(index, &path, into);
                            starts_item = false;
                        }
                        _ => {}
                    }
                    index += 1;
                }
            }
            if !is_name(self.text(index)) || self.text(index) == "self" {
                break;
            }
            path.push(self.text(index).to_owned());
            if self.text(index + 1) != "::" {
                break;
            }
            index += 2;
        }
        into.push((line, path));
    }

    /// The names of the inline modules that the token stands in.
    fn inline_modules_around(&self, index: usize) -> Vec<String> {
        let mut open: Vec<(usize, String)> = Vec::new();
        let mut depth = 0;
        for at in 0..index {
            match self.text(at) {
                "{" => {
                    depth += 1;
                    if at >= 2 && self.text(at - 2) == "mod" {
                        open.push((depth, self.text(at - 1).to_owned()));
                    }
                }
                "}" => {
                    open.retain(|(opened, _)| *opened != depth);
                    depth = depth.saturating_sub(1);
                }
                _ => {}
            }
        }
        open.into_iter().map(|(_, name)| name).collect()
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first == '_' || first.is_alphabetic())
}

fn tokens(text: &str) -> Vec<Token> {
    let characters: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < characters.len() {
        let rest = &characters[at..];
        let length = skipped(rest).unwrap_or_else(|| {
            let length = token(rest);
            tokens.push(Token { text: rest[..length].iter().collect(), line });
            length
        });
        line += rest[..length].iter().filter(|character| **character == '\n').count();
        at += length;
    }
    tokens
}

/// The length of a name, a number or one sign; `::` is one sign.
fn token(rest: &[char]) -> usize {
    let is_word = |character: &&char| **character == '_' || character.is_alphanumeric();
    match rest.iter().take_while(is_word).count() {
        0 if rest.starts_with(&[':', ':']) => 2,
        0 => 1,
        length => length,
    }
}

/// The length of the blank, comment or literal that begins here.
fn skipped(rest: &[char]) -> Option<usize> {
    let begins =
        |text: &str| text.chars().enumerate().all(|(at, character)| rest.get(at) == Some(&character));
    if rest[0].is_whitespace() {
        return Some(1);
    }
    if begins("//") {
        return Some(rest.iter().take_while(|character| **character != '\n').count());
    }
    if begins("/*") {
        return Some(block_comment(rest));
    }
    if rest[0] == '\'' {
        return character(rest);
    }
    let prefix = ["br", "cr", "b", "c", "r", ""]
        .into_iter()
        .find(|prefix| begins(prefix) && matches!(rest.get(prefix.len()), Some('"' | '#')))?;
    let body = &rest[prefix.len()..];
    if prefix.ends_with('r') {
        raw_string(body).map(|length| prefix.len() + length)
    } else {
        (body[0] == '"').then(|| prefix.len() + string(body))
    }
}

fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match (rest[at], rest.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// A character's length, or none for a lifetime.
fn character(rest: &[char]) -> Option<usize> {
    if rest.get(1) == Some(&'\\') {
        let close = rest.iter().skip(3).position(|character| *character == '\'')?;
        return Some(close + 4);
    }
    (rest.get(2) == Some(&'\'')).then_some(3)
}

fn string(rest: &[char]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != '"' {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// `#"..."#` with any number of signs; none for a raw name such as `r#type`.
fn raw_string(rest: &[char]) -> Option<usize> {
    let signs = rest.iter().take_while(|character| **character == '#').count();
    if rest.get(signs) != Some(&'"') {
        return None;
    }
    let closes = |at: usize| {
        rest[at] == '"' && rest[at + 1..].iter().take(signs).filter(|c| **c == '#').count() == signs
    };
    let close = (signs + 1..rest.len()).find(|at| closes(*at))?;
    Some(close + 1 + signs)
}
