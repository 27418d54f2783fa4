//! What people and programs see of the farm over HTTP.
//!
//! [`server`] is control's port: the API of [`api`] under `/api/v1`, with [`view`] as the forms that it answers in, and the
//! page at `/`. `access` decides who may ask. [`health`] is the small port that every role has. Whatever comes from a
//! repository or a model is foreign text: `html` is the only way into a page, and it escapes.

pub mod server;

mod access;

pub mod api;

pub mod view;

mod html;

mod page;

pub mod health;
