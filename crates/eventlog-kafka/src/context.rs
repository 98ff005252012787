//! What librdkafka tells us on the side: its log and its connections' troubles.

use std::sync::Mutex;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::error::is_settings;
use crate::native::NativeError;

/// Takes librdkafka's log, and keeps its last trouble to explain a failure with.
#[derive(Debug, Default)]
pub struct Context {
    trouble: Mutex<Trouble>,
}

#[derive(Debug, Default)]
struct Trouble {
    last: Option<NativeError>,
    all_brokers_down: bool,
}

impl Context {
    /// The last trouble, and whether no broker could be reached since [`Context::forget`].
    ///
    /// # Panics
    /// When a thread panicked while it wrote one down.
    #[must_use]
    pub fn trouble(&self) -> (Option<NativeError>, bool) {
        let trouble = self.trouble.lock().expect("no thread panics while it notes a trouble");
        (trouble.last.clone(), trouble.all_brokers_down)
    }

    /// `error` with what the connections said, when it is only a symptom of theirs.
    #[must_use]
    pub fn explain(&self, error: NativeError) -> NativeError {
        use RDKafkaErrorCode::{
            AllBrokersDown, BrokerTransportFailure, MessageTimedOut, OperationTimedOut, Resolve,
        };
        let symptom = matches!(
            error.code,
            AllBrokersDown | BrokerTransportFailure | MessageTimedOut | OperationTimedOut | Resolve
        );
        match self.trouble() {
            (Some(trouble), _) if symptom && is_settings(trouble.code) => trouble,
            (Some(trouble), _) if symptom => {
                NativeError { code: error.code, reason: format!("{}: {}", error.reason, trouble.reason) }
            }
            _ => error,
        }
    }

    /// Forgets old trouble: something has just worked.
    ///
    /// # Panics
    /// As [`Context::trouble`].
    pub fn forget(&self) {
        *self.trouble.lock().expect("no thread panics while it notes a trouble") = Trouble::default();
    }

    fn note(&self, code: RDKafkaErrorCode, reason: &str) {
        let mut trouble = self.trouble.lock().expect("no thread panics while it notes a trouble");
        if code == RDKafkaErrorCode::AllBrokersDown {
            trouble.all_brokers_down = true;
            return;
        }
        // What is wrong for good says more than what it leads to.
        if !trouble.last.as_ref().is_some_and(|last| is_settings(last.code)) || is_settings(code) {
            trouble.last = Some(NativeError { code, reason: reason.to_owned() });
        }
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            // A property that only another kind of client reads: all clients share the user's.
            _ if facility == "CONFWARN" => tracing::debug!(target: "librdkafka", facility, "{message}"),
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            // It says "error" when one of many connections was lost, which it then makes anew.
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => tracing::warn!(target: "librdkafka", facility, "{message}"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                tracing::info!(target: "librdkafka", facility, "{message}");
            }
            RDKafkaLogLevel::Debug => tracing::debug!(target: "librdkafka", facility, "{message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
        tracing::debug!(target: "librdkafka", ?code, "{reason}");
        if code != RDKafkaErrorCode::PartitionEOF {
            self.note(code, reason);
        }
    }
}

impl ConsumerContext for Context {}
