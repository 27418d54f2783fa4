//! A named thing in a file, and where it stands.

use std::fmt;

/// What a definition is; the kinds that say more come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A function, or a macro that looks like one.
    Function,
    /// A function inside a type.
    Method,
    /// A class, struct, union or record.
    Class,
    /// An enumeration.
    Enum,
    /// An interface, trait or protocol.
    Interface,
    /// The methods of a type that is defined elsewhere (Rust's `impl`).
    Implementation,
    /// A module or namespace.
    Module,
    /// A constant, static or variable of the whole file.
    Constant,
    /// A type's other name.
    Type,
    /// A macro.
    Macro,
}

impl Kind {
    /// Every kind with its word on the wire.
    const WORDS: [(Kind, &'static str); 10] = [
        (Kind::Function, "function"),
        (Kind::Method, "method"),
        (Kind::Class, "class"),
        (Kind::Enum, "enum"),
        (Kind::Interface, "interface"),
        (Kind::Implementation, "implementation"),
        (Kind::Module, "module"),
        (Kind::Constant, "constant"),
        (Kind::Type, "type"),
        (Kind::Macro, "macro"),
    ];

    /// The kind's word.
    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(kind, _)| *kind == self).map_or("", |(_, word)| word)
    }

    /// The kind that `word` names.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(_, known)| *known == word).map(|(kind, _)| *kind)
    }

    /// Whether a function in it is a method.
    pub(crate) fn has_methods(self) -> bool {
        self.is_container() && self != Self::Module
    }

    /// Whether its parts are definitions of their own right, rather than details of it.
    pub(crate) fn is_container(self) -> bool {
        matches!(self, Self::Class | Self::Enum | Self::Interface | Self::Implementation | Self::Module)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A definition, with its lines from 1, both inclusive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// Its name, as it is written.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// The name of the innermost container around it, or of the receiver; empty if there is none.
    pub container: String,
    /// First line.
    pub start_line: u32,
    /// Last line.
    pub end_line: u32,
}

impl Definition {
    /// `container.name`, or the bare name.
    pub fn qualified(&self) -> String {
        if self.container.is_empty() || self.kind == Kind::Implementation {
            self.name.clone()
        } else {
            format!("{}.{}", self.container, self.name)
        }
    }
}

/// A definition and its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Symbol {
    /// Its file.
    pub path: String,
    /// What stands there.
    pub definition: Definition,
}
