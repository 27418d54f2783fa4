//! Settings that no client can be made from.

/// What is wrong with them.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A role names a provider that is not there.
    #[error("role {role} names provider {provider:?}, which is not set up; known are: {known}")]
    UnknownProvider {
        /// The role.
        role: &'static str,
        /// What it names.
        provider: String,
        /// What could be named.
        known: String,
    },
    /// A value outside what it may be.
    #[error("{setting} must be {expected}, found {found}")]
    BadValue {
        /// Which one.
        setting: String,
        /// What it may be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// A key that no header can carry.
    #[error(
        "the key of provider {provider} must be printable ascii without spaces; check where it is read from"
    )]
    BadKey {
        /// Whose.
        provider: String,
    },
    /// The replies to replay cannot be read.
    #[error("replay file {file}: {detail}")]
    BadReplay {
        /// Which file.
        file: String,
        /// What was expected, and where.
        detail: String,
    },
    /// The system's TLS library does not start.
    #[error("no http client can be made for provider {provider}: {detail}")]
    NoHttp {
        /// Whose.
        provider: String,
        /// What the library said.
        detail: String,
    },
}
