//! Definitions by their looks: a line that begins with a word that defines, up to where the indentation comes back. No
//! grammar, no C: right for most source as people format it, and harmless for the rest.

use super::{Definitions, Extractor};
use crate::definition::{Definition, Kind};
use crate::language::Language;
use crate::lines::Lines;

/// Finds definitions by their looks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Heuristic;

impl Extractor for Heuristic {
    fn definitions(&self, language: Language, text: &str) -> Definitions {
        let lines = Lines::of(text);
        let list = if language.is_source() {
            (1..=lines.count()).filter_map(|line| definition_at(language, &lines, line)).collect()
        } else {
            Vec::new()
        };
        Definitions { list, exact: false }
    }
}

/// Words that stand before the word that defines.
const MODIFIERS: &[&str] = &[
    "pub",
    "export",
    "default",
    "async",
    "unsafe",
    "extern",
    "static",
    "public",
    "private",
    "protected",
    "internal",
    "final",
    "abstract",
    "sealed",
    "open",
    "override",
    "virtual",
    "inline",
    "data",
    "partial",
    "declare",
    "local",
    "case",
    "typedef",
    "readonly",
    "companion",
    "suspend",
    "operator",
];

/// Words that define, and what.
const DEFINERS: &[(&str, Kind)] = &[
    ("fn", Kind::Function),
    ("func", Kind::Function),
    ("fun", Kind::Function),
    ("def", Kind::Function),
    ("defp", Kind::Function),
    ("function", Kind::Function),
    ("sub", Kind::Function),
    ("class", Kind::Class),
    ("struct", Kind::Class),
    ("union", Kind::Class),
    ("record", Kind::Class),
    ("object", Kind::Class),
    ("message", Kind::Class),
    ("enum", Kind::Enum),
    ("interface", Kind::Interface),
    ("trait", Kind::Interface),
    ("protocol", Kind::Interface),
    ("service", Kind::Interface),
    ("impl", Kind::Implementation),
    ("extension", Kind::Implementation),
    ("mod", Kind::Module),
    ("module", Kind::Module),
    ("defmodule", Kind::Module),
    ("namespace", Kind::Module),
    ("type", Kind::Type),
    ("typealias", Kind::Type),
    ("macro_rules!", Kind::Macro),
    ("const", Kind::Constant),
    ("let", Kind::Constant),
    ("var", Kind::Constant),
    ("val", Kind::Constant),
];

/// Words that can stand before `(…) {` and define nothing.
const CONTROL: &[&str] = &[
    "if",
    "for",
    "while",
    "switch",
    "catch",
    "return",
    "else",
    "do",
    "try",
    "new",
    "throw",
    "with",
    "match",
    "foreach",
    "elif",
    "elsif",
    "until",
    "unless",
    "synchronized",
    "using",
    "lock",
    "await",
    "yield",
    "case",
    "sizeof",
    "typeof",
];

/// A name, what it names, and whose it is.
struct Named<'a> {
    kind: Kind,
    name: &'a str,
    container: &'a str,
}

fn definition_at(language: Language, lines: &Lines<'_>, line: u32) -> Option<Definition> {
    let text = lines.get(line);
    let code = text.trim();
    if code.is_empty() || code.starts_with(['/', '#', '*', '}', ')', '"', '\'']) {
        return None;
    }
    let indent = indent_of(text);
    let Named { kind, name, container } = by_word(code, indent)
        .or_else(|| by_capitals(language, code, indent))
        .or_else(|| by_shape(language, lines, line))?;
    Some(Definition {
        name: name.to_owned(),
        kind,
        container: container.to_owned(),
        start_line: line,
        end_line: end_of(lines, line, indent),
    })
}

/// `pub(crate) async fn name…`, `export default class Name…`
fn by_word(code: &str, indent: usize) -> Option<Named<'_>> {
    let mut rest = code;
    loop {
        let (word, after) = split_word(rest);
        let definer = DEFINERS.iter().find(|(definer, _)| *definer == word).map(|(_, kind)| *kind);
        // `const fn f()` defines `f`.
        let is_modifier =
            MODIFIERS.contains(&word) || (word == "const" && begins_definition(after.trim_start()));
        match definer {
            _ if is_modifier => rest = without_group(after.trim_start()),
            Some(Kind::Implementation) => return implementation(after),
            Some(kind) => return named(kind, after, indent),
            None => return None,
        }
    }
}

fn begins_definition(code: &str) -> bool {
    ["fn", "unsafe", "async", "extern", "enum", "class"].contains(&split_word(code).0)
}

fn named(kind: Kind, after: &str, indent: usize) -> Option<Named<'_>> {
    let after = after.strip_prefix('*').unwrap_or(after);
    if !after.starts_with([' ', '\t']) {
        return None;
    }
    let after = after.trim_start();
    // Go: `func (r *Receiver[T]) Name`.
    let (container, after) = match after.strip_prefix('(').and_then(|rest| rest.split_once(')')) {
        Some((receiver, rest)) if kind == Kind::Function => (receiver_type(receiver), rest.trim_start()),
        _ => ("", after),
    };
    // Ruby: `def self.name`.
    let after = after.strip_prefix("self.").unwrap_or(after);
    let (name, rest) = split_word(after);
    if !name.starts_with(|c: char| c.is_alphabetic() || c == '_') {
        return None;
    }
    let kind = match (kind, split_word(rest.trim_start()).0) {
        (Kind::Constant, _) if rest.contains("=>") || rest.contains("= function") => Kind::Function,
        (Kind::Constant, _) if indent > 0 => return None,
        (Kind::Type, "struct") => Kind::Class,
        (Kind::Type, "interface") => Kind::Interface,
        (kind, _) => kind,
    };
    Some(Named { kind, name, container })
}

fn receiver_type(receiver: &str) -> &str {
    let before_parameters = receiver.split('[').next().unwrap_or(receiver);
    before_parameters.rsplit([' ', '*']).next().unwrap_or("")
}

/// `impl<T> Trait for path::Type<T> where…` is of `Type`.
fn implementation(after: &str) -> Option<Named<'_>> {
    let head = after.split(['{', ';']).next()?;
    let head = head.split(" where ").next()?;
    let of = head.split_once(" for ").map_or_else(|| without_parameters(head), |(_, of)| of);
    let path = of.trim().split('<').next()?;
    let (name, _) = split_word(path.rsplit("::").next()?.trim_start_matches(['&', ' ']));
    (!name.is_empty()).then_some(Named { kind: Kind::Implementation, name, container: "" })
}

/// Without the `<…>` at its beginning.
fn without_parameters(head: &str) -> &str {
    let mut depth = 0_u32;
    for (at, c) in head.char_indices() {
        match c {
            '<' => depth += 1,
            '>' if depth == 1 => return head.get(at + 1..).unwrap_or(""),
            '>' => depth = depth.saturating_sub(1),
            _ if depth == 0 && !c.is_whitespace() => return head,
            _ => {}
        }
    }
    head
}

/// Python's `NAME = …` at the left edge.
fn by_capitals(language: Language, code: &str, indent: usize) -> Option<Named<'_>> {
    let (name, rest) = split_word(code);
    let rest = rest.trim_start();
    let is_constant = language == Language::Python
        && indent == 0
        && (rest.starts_with(':') || (rest.starts_with('=') && !rest.starts_with("==")))
        && name.starts_with(|c: char| c.is_ascii_uppercase())
        && !name.chars().any(char::is_lowercase);
    is_constant.then_some(Named { kind: Kind::Constant, name, container: "" })
}

/// `static int name(…) {`, `public List<T> name(…) throws E {`, `name(…) {` in a class.
fn by_shape<'a>(language: Language, lines: &Lines<'a>, line: u32) -> Option<Named<'a>> {
    use Language::{C, Java, JavaScript, OtherSource, Tsx, TypeScript};
    if !matches!(language, C | Java | JavaScript | TypeScript | Tsx | OtherSource) {
        return None;
    }
    let text = lines.get(line);
    let code = text.trim();
    let (before, arguments) = code.split_once('(')?;
    let indent = indent_of(text);
    let opens_block = code.ends_with('{')
        || (language == C && indent == 0 && (1..=3).any(|next| lines.get(line + next).starts_with('{')));
    let is_head = !before.contains(['.', '=', '"', '\'', '`', '?', '|', '!'])
        && !arguments.starts_with(['"', '\'', '`'])
        && !arguments.contains("=>")
        && !code.ends_with(';');
    let start_of_name =
        before.trim_end().rfind(|c: char| !(c.is_alphanumeric() || c == '_')).map_or(0, |at| at + 1);
    let name = before.trim_end().get(start_of_name..)?;
    let first = split_word(before).0;
    // A bare `name(…) {` at the left edge is a call with a block.
    let is_bare = start_of_name == 0 && indent == 0 && language != C;
    let is_word = name.starts_with(|c: char| c.is_alphabetic() || c == '_');
    (opens_block && is_head && is_word && !is_bare && !CONTROL.contains(&first) && !CONTROL.contains(&name))
        .then_some(Named { kind: Kind::Function, name, container: "" })
}

/// The last line of what begins at `start`: up to where the indentation comes back, with the line that closes it. Each line
/// is looked at once for each definition that it is indented under, so the work is bounded by the text's size.
fn end_of(lines: &Lines<'_>, start: u32, indent: usize) -> u32 {
    let mut end = start;
    for line in start + 1..=lines.count() {
        let text = lines.get(line);
        let code = text.trim();
        if code.is_empty() || code.starts_with("//") || code.starts_with('#') {
            continue;
        }
        if indent_of(text) > indent {
            end = line;
        } else if code.starts_with('}') || code == "end" || code.starts_with("end ") {
            return line;
        } else if code.starts_with(['{', ')', ']']) || code.starts_with("where") {
            end = line;
        } else {
            break;
        }
    }
    end
}

fn indent_of(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

fn split_word(code: &str) -> (&str, &str) {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '!';
    code.split_at(code.find(|c| !is_part(c)).unwrap_or(code.len()))
}

/// Without the `(crate)` or `"C"` that a modifier may carry.
fn without_group(after: &str) -> &str {
    let group = [('(', ')'), ('"', '"')].into_iter().find_map(|(open, close)| {
        after.strip_prefix(open).and_then(|rest| rest.split_once(close)).map(|(_, rest)| rest)
    });
    group.unwrap_or(after).trim_start()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(language: Language, text: &str) -> Vec<String> {
        let list = Heuristic.definitions(language, text).list;
        list.iter().map(|d| format!("{} {} {}-{}", d.kind, d.qualified(), d.start_line, d.end_line)).collect()
    }

    #[test]
    fn definitions_are_found_by_their_looks() {
        for (language, text, expect) in [
            (
                Language::Rust,
                "pub(crate) const fn a() {\n    1\n}\nimpl<T: X> fmt::Display for Foo<T> {\n    fn b(\n    ) {\n    }\n}\n",
                vec!["function a 1-3", "implementation Foo 4-8", "function b 5-7"],
            ),
            (
                Language::Python,
                "MAX = 3\nx = 4\n@dec\nclass A(B):\n    def f(self):\n        pass\n\n    # c\n    async def g(self): pass\n",
                vec!["constant MAX 1-1", "class A 4-9", "function f 5-6", "function g 9-9"],
            ),
            (
                Language::Go,
                "func (e *Engine[T]) Run(a string) error {\n\treturn nil\n}\n\ntype A struct {\n\tx int\n}\n",
                vec!["function Engine.Run 1-3", "class A 5-7"],
            ),
            (
                Language::Java,
                "public final class A {\n  public List<T> get(int i) throws E {\n    if (x) {\n      a.b(c);\n    }\n  }\n}\n",
                vec!["class A 1-7", "function get 2-6"],
            ),
            (
                Language::JavaScript,
                "export const f = (a) => {\n  g(a);\n};\nclass A {\n  m(x) {\n  }\n}\ndescribe(\"x\", () => {\n});\n",
                vec!["function f 1-3", "class A 4-7", "function m 5-6"],
            ),
            (
                Language::C,
                "static int\nfoo(int a,\n    int b)\n{\n\treturn bar(a);\n}\nint x(void);\n",
                vec!["function foo 2-6"],
            ),
            (
                Language::OtherSource,
                "class A\n  def self.f(x)\n    x\n  end\nend\n",
                vec!["class A 1-5", "function f 2-4"],
            ),
            (Language::Text, "class of 1998\n", vec![]),
        ] {
            assert_eq!(found(language, text), expect, "{language:?}");
        }
    }
}
