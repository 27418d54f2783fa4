//! How the program ends when it does not end well (DESIGN §9).

/// Exit statuses that scripts may rely on.
pub(crate) mod exit {
    /// Something failed.
    pub(crate) const FAILURE: u8 = 1;
    /// The command line or the settings cannot be used.
    pub(crate) const USAGE: u8 = 2;
    /// A task ended with SOFT_FAIL.
    pub(crate) const SOFT_FAIL: u8 = 3;
    /// A task ended with HARD_FAIL.
    pub(crate) const HARD_FAIL: u8 = 5;
    /// Refused before a task existed, or by a person.
    pub(crate) const REFUSED: u8 = 6;
    /// It took longer than the caller would wait.
    pub(crate) const TIMEOUT: u8 = 7;
}

/// What the person at the terminal is told.
#[derive(Debug)]
pub(crate) struct Failure {
    /// One of [`exit`].
    pub exit: u8,
    /// What went wrong and what to do.
    pub message: String,
}

/// What a verb or a role comes to.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// With an exit status of its own.
    pub(crate) fn new(exit: u8, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }
}

impl From<crate::settings::SettingsError> for Failure {
    fn from(error: crate::settings::SettingsError) -> Self {
        Self::new(exit::USAGE, error.to_string())
    }
}

macro_rules! plain_failures {
    ($($error:ty),+ $(,)?) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::new(exit::FAILURE, error.to_string())
            }
        })+
    };
}

plain_failures!(
    std::io::Error,
    serde_json::Error,
    prometheus::Error,
    reqwest::Error,
    tokio::task::JoinError,
    farm_control::control::ControlError,
    farm_control::server::ServeError,
    farm_core::id::InvalidId,
    farm_core::port::NoContext,
    farm_core::port::SourceFailed,
    farm_git::error::GitError,
    farm_kafka::KafkaError,
    farm_model::SettingsError,
    farm_sandbox::Unavailable,
    farm_store::StoreError,
    farm_wire::client::BadAddress,
);
