//! One reader for each way in which models write an edit.

pub(crate) mod begin_patch;
pub(crate) mod blocks;
pub(crate) mod json;
mod name;
pub(crate) mod unified;
pub(crate) mod whole;
