//! The wire: `proto/` as Rust types, and nothing that decides.

/// Generated from `proto/patchfarm/v1`.
#[allow(clippy::all, missing_docs, unreachable_pub)]
pub mod v1 {
    tonic::include_proto!("patchfarm.v1");

    /// The descriptors of the whole package, for reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/patchfarm_v1.bin"));
}
