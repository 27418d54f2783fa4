//! Tests of the engine from outside: the conformance corpus, properties, and limits.

mod corpus;
mod files;
mod hostile;
mod properties;
