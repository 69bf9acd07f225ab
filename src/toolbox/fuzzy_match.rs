//! The lines of a file that are most similar to text which is not in it. The result is a message for the
//! model.

/// Most lines shown.
const LINES_SHOWN_MAX: usize = 12;
/// Most lines of the wanted text that are compared.
const LINES_COMPARED_MAX: usize = 40;
/// Most characters compared of one line.
const LINE_CHARS_MAX: usize = 200;
/// Lines below this similarity are not shown.
const NEAR_MIN: f64 = 0.5;

/// The message that `wanted` is not in `content`, with the most similar lines.
pub fn nearest_lines(content: &str, wanted: &str) -> String {
    const NOT_FOUND: &str = "the old text does not occur";
    let lines: Vec<&str> = content.lines().collect();
    let wanted: Vec<&str> = wanted.lines().skip_while(|line| line.trim().is_empty()).collect();
    let compared: Vec<Shape> = wanted.iter().take(LINES_COMPARED_MAX).map(|line| Shape::of(line)).collect();
    let Some(first_wanted) = compared.first() else {
        return format!("{NOT_FOUND}; it is nothing but white space");
    };
    let shapes: Vec<Shape> = lines.iter().map(|line| Shape::of(line)).collect();
    let best = (0..lines.len())
        .filter(|at| shapes[*at].likeness(first_wanted) >= NEAR_MIN)
        .map(|at| {
            let pairs = compared.iter().zip(&shapes[at..]);
            let score: f64 = pairs.map(|(wanted, there)| wanted.likeness(there)).sum();
            (at, score / compared.len() as f64)
        })
        .max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
    let Some((at, score)) = best.filter(|(_, score)| *score >= NEAR_MIN) else {
        return format!("{NOT_FOUND}, nor anything near it; read the file again");
    };
    let last = (at + wanted.len()).min(lines.len());
    let space_only = score == 1.0
        && last - at == wanted.len()
        && wanted.iter().zip(&lines[at..last]).all(|(wanted, there)| wanted.trim() == there.trim());
    let how = if space_only { " (only white space differs)" } else { "" };
    let width = last.to_string().len();
    let mut shown = String::new();
    for (number, line) in (at + 1..).zip(&lines[at..last]).take(LINES_SHOWN_MAX) {
        let line: String = line.chars().take(LINE_CHARS_MAX).collect();
        shown.push_str(&format!("\n{number:>width$}  {line}"));
    }
    let lines_named =
        if last == at + 1 { format!("line {last}") } else { format!("lines {}-{last}", at + 1) };
    format!("{NOT_FOUND}; the nearest is {lines_named}{how}:{shown}\n")
}

/// A line without the white space around it, and its pairs of neighbouring characters, sorted.
struct Shape {
    pairs: Vec<(char, char)>,
    text: String,
}

impl Shape {
    fn of(line: &str) -> Self {
        let text: String = line.trim().chars().take(LINE_CHARS_MAX).collect();
        let mut pairs: Vec<_> = text.chars().zip(text.chars().skip(1)).collect();
        pairs.sort_unstable();
        Self { pairs, text }
    }

    /// Dice's coefficient over the pairs: 1 for equal lines, 0 for nothing in common.
    fn likeness(&self, other: &Self) -> f64 {
        if self.text == other.text {
            return 1.0;
        }
        let (mut ours, mut theirs) = (self.pairs.iter().peekable(), other.pairs.iter().peekable());
        let mut common = 0;
        while let (Some(a), Some(b)) = (ours.peek(), theirs.peek()) {
            match a.cmp(b) {
                std::cmp::Ordering::Less => drop(ours.next()),
                std::cmp::Ordering::Greater => drop(theirs.next()),
                std::cmp::Ordering::Equal => {
                    common += 1;
                    ours.next();
                    theirs.next();
                }
            }
        }
        let total = self.pairs.len() + other.pairs.len();
        if total == 0 { 0.0 } else { 2.0 * f64::from(common) / total as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "fn main() {\n    let total = 0;\n    println!(\"{total}\");\n}\n";

    #[test]
    fn wrong_indentation_is_called_that() {
        let message = nearest_lines(FILE, "let total = 0;\nprintln!(\"{total}\");");
        let expected = "the old text does not occur; the nearest is lines 2-3 (only white space differs):\n\
                        2      let total = 0;\n3      println!(\"{total}\");\n";
        assert_eq!(message, expected);
    }

    #[test]
    fn a_line_with_a_slip_is_found() {
        let message = nearest_lines(FILE, "    let totals = 0;");
        assert_eq!(message, "the old text does not occur; the nearest is line 2:\n2      let total = 0;\n");
    }

    #[test]
    fn nothing_near_is_not_made_up() {
        let message = nearest_lines(FILE, "import os");
        assert_eq!(message, "the old text does not occur, nor anything near it; read the file again");
    }
}
