//! What an error of librdkafka means to whoever called.

use eventlog::LogError;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::native::NativeError;

impl From<KafkaError> for NativeError {
    fn from(error: KafkaError) -> Self {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
        Self { code, reason: error.to_string() }
    }
}

/// The error for `topic` in the cluster `place`, with librdkafka's reason in it.
#[must_use]
pub fn log_error(place: &str, topic: &str, error: &NativeError) -> LogError {
    use RDKafkaErrorCode::{
        Authentication, ClusterAuthorizationFailed, FencedInstanceId, GroupAuthorizationFailed, InvalidTopic,
        MessageSizeTooLarge, QueueFull, SaslAuthenticationFailed, TopicAuthorizationFailed, UnknownGroup,
        UnknownTopic, UnknownTopicOrPartition, UnsupportedSASLMechanism,
    };
    let place = place.to_owned();
    let reason = &error.reason;
    let settings = |advice: &str| LogError::Settings {
        place: place.clone(),
        reason: format!("topic {topic:?}: {reason}; {advice}"),
    };
    match error.code {
        UnknownTopic | UnknownTopicOrPartition | InvalidTopic => {
            LogError::TopicMissing { topic: topic.to_owned(), place }
        }
        QueueFull => LogError::Full {
            place,
            reason: format!("topic {topic:?}: {reason}; brokers take events slower than they come"),
        },
        MessageSizeTooLarge => settings("raise the topic's `max.message.bytes`"),
        Authentication | SaslAuthenticationFailed | UnsupportedSASLMechanism => {
            settings("correct the credentials under [kafka]")
        }
        TopicAuthorizationFailed | GroupAuthorizationFailed | ClusterAuthorizationFailed | UnknownGroup => {
            settings("give this user the right to do that")
        }
        FencedInstanceId => settings("another process has the same group instance id; give each its own"),
        _ => LogError::Unavailable { place, reason: format!("topic {topic:?}: {reason}") },
    }
}

/// Whether an error means that the settings are wrong, not that the cluster is away.
#[must_use]
pub fn is_settings(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::{Authentication, SaslAuthenticationFailed, UnsupportedSASLMechanism};
    matches!(code, Authentication | SaslAuthenticationFailed | UnsupportedSASLMechanism)
}
