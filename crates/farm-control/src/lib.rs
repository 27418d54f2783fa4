//! Control: one process, one store, the farm's truth. It runs no command of a repository.
//!
//! [`control`] is what all parts share. From outside come requests ([`intake`], [`planner`]) and the calls of workers
//! ([`server`], with [`begin`] for the one that decides most, which asks [`tips`] where to start). Two loops never stop:
//! [`dispatch`] offers tasks on Kafka, [`sweep`] puts right what time has made wrong. [`phases`] moves changes on,
//! [`integrate`] makes one tree of their tasks, [`rounds`] begins anew what did not go together or did not pass.
//! [`publish`] is the way to Kafka, [`metrics`] what is counted.

pub mod control;

pub mod intake;

pub mod planner;

pub mod server;

pub mod begin;

pub mod tips;

pub mod dispatch;

pub mod sweep;

pub mod phases;

pub mod integrate;

pub mod rounds;

pub mod publish;

pub mod metrics;
