//! Turns the Markdown of the reference into the language of manual pages.
//!
//! Pure. It knows what the reference uses: headings, paragraphs, lists, tables, fences, and in a
//! line code, bold text and links.

/// Returns the text of a manual page, without its title. The heading of the whole is left out.
pub(super) fn of_markdown(text: &str) -> String {
    let mut page = ManualPage::default();
    for line in text.lines() {
        page.add(line);
    }
    page.text
}

/// Returns the name of another page as pages refer to it.
pub(super) fn reference_to(page: &str) -> String {
    let section = if page.contains('.') { 5 } else { 1 };
    format!("{}({section})", bold(page))
}

/// A page while its lines are read.
#[derive(Debug, Default)]
struct ManualPage {
    text: String,
    within: Within,
    /// The heads of the columns of the table that is being read.
    columns: Vec<String>,
}

/// What the last line belonged to.
#[derive(Debug, Default, PartialEq, Eq)]
enum Within {
    #[default]
    Nothing,
    Paragraph,
    List,
    Table,
    Fence,
}

impl ManualPage {
    fn add(&mut self, line: &str) {
        if line.starts_with("```") {
            let is_end = self.within == Within::Fence;
            self.put(if is_end { ".fi\n.RE" } else { ".PP\n.RS 4\n.nf" });
            self.within = if is_end { Within::Nothing } else { Within::Fence };
        } else if self.within == Within::Fence {
            self.put(&guarded(&escaped(line)));
        } else if line.trim().is_empty() {
            self.within = Within::Nothing;
        } else if let Some(heading) = line.strip_prefix("### ") {
            self.heading(".SS", heading);
        } else if let Some(heading) = line.strip_prefix("## ") {
            self.heading(".SH", heading);
        } else if line.starts_with("# ") || line.starts_with("<!--") {
            self.within = Within::Nothing;
        } else if line.starts_with('|') {
            self.row(line);
        } else if let Some(item) = line.strip_prefix("- ") {
            self.put(".IP \\(bu 2");
            self.words(item);
            self.within = Within::List;
        } else {
            if self.within == Within::Nothing {
                self.put(".PP");
                self.within = Within::Paragraph;
            }
            self.words(line.trim_start());
        }
    }

    fn heading(&mut self, request: &str, heading: &str) {
        let plain = heading.replace(['`', '"'], "");
        self.put(&format!("{request} \"{}\"", escaped(&plain)));
        self.within = Within::Nothing;
    }

    /// A row becomes a tagged paragraph: its first cell is the tag. Where there are several others,
    /// each says what it is.
    fn row(&mut self, line: &str) {
        let cells = cells(line);
        if self.within != Within::Table {
            self.within = Within::Table;
            self.columns = cells;
            return;
        }
        if cells.iter().all(|cell| cell.chars().all(|c| matches!(c, '-' | ':'))) {
            return;
        }
        let Some((tag, rest)) = cells.split_first() else { return };
        self.put(".TP");
        self.words(tag);
        let columns = std::mem::take(&mut self.columns);
        let mut short = Vec::new();
        for (cell, column) in rest.iter().zip(&columns[1..]).filter(|(cell, _)| !cell.is_empty()) {
            let is_plain = rest.len() == 1 || column == "meaning";
            if is_plain && !short.is_empty() {
                self.words(&std::mem::take(&mut short).join("; "));
                self.put(".br");
            }
            short.push(if is_plain { cell.clone() } else { format!("{column}: {cell}") });
        }
        self.words(&short.join("; "));
        self.columns = columns;
    }

    fn words(&mut self, text: &str) {
        self.put(&guarded(&inline(text)));
    }

    fn put(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }
}

/// Splits a row of a table. `\|` ends no cell.
fn cells(row: &str) -> Vec<String> {
    let inside = row.trim().trim_start_matches('|');
    let inside = inside.strip_suffix('|').unwrap_or(inside).replace("\\|", "\u{0}");
    inside.split('|').map(|cell| cell.trim().replace('\u{0}', "|")).collect()
}

/// Returns the text of one line with its code and bold words in bold, and links as their text.
fn inline(text: &str) -> String {
    let mut made = String::new();
    for (index, part) in text.split('`').enumerate() {
        if index % 2 == 1 {
            made.push_str(&bold(part));
            continue;
        }
        for (index, part) in part.split("**").enumerate() {
            let part = without_links(part);
            made.push_str(&if index % 2 == 1 { bold(&part) } else { escaped(&part) });
        }
    }
    made
}

fn without_links(text: &str) -> String {
    let mut made = String::new();
    let mut rest = text;
    while let Some((before, link)) = rest.split_once('[') {
        let Some((words, target)) = link.split_once("](") else { break };
        let Some((_, after)) = target.split_once(')') else { break };
        made.push_str(before);
        made.push_str(words);
        rest = after;
    }
    made + rest
}

fn bold(text: &str) -> String {
    format!("\\fB{}\\fR", escaped(text))
}

/// Returns the text with nothing in it that has a meaning to the formatter. A `-` must stay what it
/// is, so that options can be copied.
pub(super) fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-")
}

/// Returns the line such that it is no request of the formatter.
fn guarded(line: &str) -> String {
    if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_of_the_reference_becomes_its_request() {
        let made = of_markdown(
            "# Title\n\n<!-- note -->\n\nTwo\nlines.\n\n## `[pool.NAME]`\n\n- a **b** `--c`\n  d\n\n\
             | key | type | meaning |\n|---|---|---|\n| `a` | size | x \\| y |\n| `b` |  | z |\n\n\
             ```toml\n.a = \"\\\\\"\n```\n",
        );
        let wanted = [
            ".PP\nTwo\nlines.\n.SH \"[pool.NAME]\"\n",
            ".IP \\(bu 2\na \\fBb\\fR \\fB\\-\\-c\\fR\nd\n",
            ".TP\n\\fBa\\fR\ntype: size\n.br\nx | y\n.TP\n\\fBb\\fR\nz\n",
            ".PP\n.RS 4\n.nf\n\\&.a = \"\\e\\e\"\n.fi\n.RE\n",
        ];
        assert_eq!(made, wanted.concat());
    }

    #[test]
    fn links_are_their_text() {
        assert_eq!(inline("see [this page](x.md) [not a link"), "see this page [not a link");
    }
}
