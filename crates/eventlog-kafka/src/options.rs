//! How to reach a cluster: defaults of ours, properties of the user's, and those nobody may set.

use std::collections::BTreeMap;
use std::time::Duration;

use event::limits;
use eventlog::LogError;
use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;

/// How a Kafka log is reached.
#[derive(Debug, Clone, Default)]
pub struct KafkaOptions {
    /// `host:port` of one or more brokers, separated by commas.
    pub brokers: String,
    /// librdkafka's own properties, by its own names: security, time-outs, sizes.
    pub properties: BTreeMap<String, String>,
    /// Name of this group member (`group.instance.id`), stable over restarts, so that a restart
    /// within `session.timeout.ms` moves no partitions. Different for each process.
    pub group_instance_id: Option<String>,
    /// Time after which an append that was not acknowledged is given up, where a spool takes over
    /// then; else the usual one. A property of the user's stands over it.
    pub append_patience: Option<Duration>,
}

/// Properties that are not the user's, each with the reason.
const RESERVED: &[(&str, &str)] = &[
    ("acks", "an event is acknowledged only when all in-sync replicas have it"),
    ("request.required.acks", "an event is acknowledged only when all in-sync replicas have it"),
    ("enable.idempotence", "without it a retry of the client could write an event twice"),
    ("enable.gapless.guarantee", "it would stop the producer for good at the first failure"),
    ("transactional.id", "events are not sent in transactions"),
    ("enable.auto.commit", "positions come from the table, not from Kafka's group"),
    ("enable.auto.offset.store", "positions come from the table, not from Kafka's group"),
    ("auto.commit.interval.ms", "positions come from the table, not from Kafka's group"),
    ("auto.offset.reset", "a position that is gone is an error a person sees, never a silent jump"),
    ("enable.partition.eof", "the end of a partition is needed to count its transaction markers"),
    ("isolation.level", "records of aborted transactions must not land"),
    ("partition.assignment.strategy", "partitions move one by one: the strategy is cooperative-sticky"),
    ("group.protocol", "the group protocol is \"classic\""),
    ("group.id", "the group is named by Laker, after the table"),
    ("group.instance.id", "it has a setting of its own"),
    ("bootstrap.servers", "the brokers stand in `log = \"kafka://…\"`"),
    ("metadata.broker.list", "the brokers stand in `log = \"kafka://…\"`"),
    ("allow.auto.create.topics", "a typing error must not create a topic"),
    ("log.queue", "librdkafka's log goes to Laker's"),
];

/// Properties that bound how long an append may take, in milliseconds.
const APPEND_TIMEOUTS: [&str; 2] = ["delivery.timeout.ms", "message.timeout.ms"];
/// Below `limits::APPEND_DEADLINE`, so that the producer's own verdict comes first.
const DELIVERY_TIMEOUT_MILLIS: u64 = 25_000;
const _: () = assert!(DELIVERY_TIMEOUT_MILLIS < limits::APPEND_DEADLINE.as_millis() as u64);
/// The largest event and what Kafka puts around it.
const MESSAGE_BYTES_MAX: usize = limits::EVENT_BYTES_MAX + 64 * 1024;

impl KafkaOptions {
    /// Options for `brokers` with nothing else set.
    #[must_use]
    pub fn new(brokers: impl Into<String>) -> Self {
        Self { brokers: brokers.into(), ..Self::default() }
    }

    /// Refuses what could not keep the promise.
    ///
    /// # Errors
    /// [`LogError::Settings`] names the property and the reason.
    pub fn check(&self) -> Result<(), LogError> {
        if self.brokers.split(',').all(|broker| broker.trim().is_empty()) {
            return Err(self.refused("no broker is named; write `log = \"kafka://host:9092\"`".to_owned()));
        }
        for (name, value) in &self.properties {
            if let Some((_, reason)) = RESERVED.iter().find(|(reserved, _)| reserved == name) {
                return Err(self.refused(format!("property {name:?} cannot be set: {reason}; remove it")));
            }
            if APPEND_TIMEOUTS.contains(&name.as_str()) {
                self.check_timeout(name, value)?;
            }
        }
        // Each kind of client reads its own properties: a wrong one is found before any is connected.
        for config in [self.producer(), self.forwarder("laker"), self.member("laker"), self.reader()] {
            config.create_native_config().map_err(|error| self.bad_property(&error))?;
        }
        Ok(())
    }

    fn check_timeout(&self, name: &str, value: &str) -> Result<(), LogError> {
        let longest = limits::APPEND_DEADLINE.as_millis() as u64;
        match value.parse::<u64>() {
            Ok(millis) if (1..longest).contains(&millis) => Ok(()),
            _ => Err(self.refused(format!(
                "property {name:?} must be 1 to {} milliseconds, so that an append ends in time",
                longest - 1
            ))),
        }
    }

    /// The error for a property librdkafka does not take.
    #[must_use]
    pub fn bad_property(&self, error: &KafkaError) -> LogError {
        let reason = match error {
            KafkaError::ClientConfig(_, description, name, _) => {
                format!("property {name:?} under [kafka]: {description}; see librdkafka's CONFIGURATION.md")
            }
            KafkaError::ClientCreation(description) => {
                format!("the client refused its properties: {description}; correct them under [kafka]")
            }
            other => other.to_string(),
        };
        self.refused(reason)
    }

    fn refused(&self, reason: String) -> LogError {
        LogError::Settings { place: self.place(), reason }
    }

    /// The cluster, for messages.
    #[must_use]
    pub fn place(&self) -> String {
        format!("kafka://{}", self.brokers)
    }

    /// Properties of the client that appends.
    #[must_use]
    pub fn producer(&self) -> ClientConfig {
        let mut config = self.client();
        config
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("compression.codec", "lz4")
            .set("linger.ms", "5")
            .set("delivery.timeout.ms", self.delivery_timeout_millis().to_string())
            .set("message.max.bytes", MESSAGE_BYTES_MAX.to_string())
            // The bytes in flight are limited before they are handed over; see `sender`.
            .set("queue.buffering.max.messages", "0");
        self.with_properties(config)
    }

    fn delivery_timeout_millis(&self) -> u64 {
        let patience = self.append_patience.map_or(DELIVERY_TIMEOUT_MILLIS, |patience| {
            u64::try_from(patience.as_millis()).unwrap_or(DELIVERY_TIMEOUT_MILLIS)
        });
        patience.clamp(1, DELIVERY_TIMEOUT_MILLIS)
    }

    /// Properties of the client that forwards a spool: all others with this `transactional_id` are
    /// shut out by it.
    #[must_use]
    pub fn forwarder(&self, transactional_id: &str) -> ClientConfig {
        let mut config = self.producer();
        for timeout in APPEND_TIMEOUTS {
            config.remove(timeout);
        }
        config
            .set("message.timeout.ms", limits::SPOOL_FORWARD_DEADLINE.as_millis().to_string())
            .set("transactional.id", transactional_id)
            .set("transaction.timeout.ms", limits::SPOOL_TRANSACTION_DEADLINE.as_millis().to_string());
        config
    }

    /// Properties of the client that asks how far the forwarder of `group` has come. It sees no
    /// position whose transaction is still open.
    #[must_use]
    pub fn forwarders_group(&self, group: &str) -> ClientConfig {
        let mut config = self.reader();
        config
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false");
        config
    }

    /// Properties of a member of `group`.
    #[must_use]
    pub fn member(&self, group: &str) -> ClientConfig {
        let mut config = self.consumer();
        config
            .set("group.id", group)
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("fetch.message.max.bytes", "4194304")
            .set("queued.max.messages.kbytes", "32768")
            // How soon the end of a partition is known, and with it its transaction markers.
            .set("fetch.wait.max.ms", "100")
            // New partitions are found within half a minute.
            .set("topic.metadata.refresh.interval.ms", "30000");
        if let Some(id) = &self.group_instance_id {
            config.set("group.instance.id", id);
        }
        self.with_properties(config)
    }

    /// Properties of a client that reads without a group.
    #[must_use]
    pub fn reader(&self) -> ClientConfig {
        let mut config = self.consumer();
        config
            .set("fetch.message.max.bytes", "4194304")
            .set("queued.max.messages.kbytes", "16384")
            // A read ends at the end it was told: it must not wait there for what comes later.
            .set("fetch.wait.max.ms", "5");
        self.with_properties(config)
    }

    fn consumer(&self) -> ClientConfig {
        let mut config = self.client();
        config
            .set("auto.offset.reset", "error")
            .set("enable.partition.eof", "true")
            .set("isolation.level", "read_committed")
            .set("fetch.min.bytes", "1")
            // A full queue is looked at again soon: the default of a second stalls the loader.
            .set("fetch.queue.backoff.ms", "20");
        config
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", "laker")
            .set("allow.auto.create.topics", "false")
            .set("reconnect.backoff.max.ms", "2000")
            .set_log_level(self.log_level());
        config
    }

    fn log_level(&self) -> RDKafkaLogLevel {
        match self.properties.contains_key("debug") {
            true => RDKafkaLogLevel::Debug,
            false => RDKafkaLogLevel::Info,
        }
    }

    /// The user's properties stand over ours; the reserved ones were refused before.
    fn with_properties(&self, mut config: ClientConfig) -> ClientConfig {
        for (name, value) in &self.properties {
            if APPEND_TIMEOUTS.contains(&name.as_str()) {
                config.remove("delivery.timeout.ms");
            }
            config.set(name, value);
        }
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(name: &str, value: &str) -> String {
        let mut options = KafkaOptions::new("broker:9092");
        options.properties.insert(name.to_owned(), value.to_owned());
        match options.check() {
            Err(error @ LogError::Settings { .. }) => error.to_string(),
            other => panic!("{name}={value} must be refused, but {other:?}"),
        }
    }

    #[test]
    fn a_property_that_would_break_the_promise_is_refused_with_the_reason() {
        for (name, reason) in RESERVED {
            let refused = refusal(name, "true");
            assert!(refused.contains(name) && refused.contains(reason), "{refused}");
        }
    }

    #[test]
    fn an_append_must_end_before_its_deadline() {
        for value in ["0", "30000", "300000", "soon", "-1"] {
            let refused = refusal("delivery.timeout.ms", value);
            assert!(refused.contains("delivery.timeout.ms"), "{refused}");
        }
        let mut options = KafkaOptions::new("broker:9092");
        options.properties.insert("message.timeout.ms".to_owned(), "5000".to_owned());
        options.check().unwrap();
        assert_eq!(
            options.producer().create_native_config().unwrap().get("message.timeout.ms").unwrap(),
            "5000"
        );
    }

    #[test]
    fn an_unknown_property_and_a_bad_value_are_named() {
        let refused = refusal("no.such.property", "1");
        assert!(refused.contains("no.such.property") && refused.contains("kafka://broker:9092"), "{refused}");
        let refused = refusal("linger.ms", "soon");
        assert!(refused.contains("linger.ms"), "{refused}");
    }

    #[test]
    fn a_property_of_the_user_stands_over_ours() {
        let mut options = KafkaOptions::new("broker:9092");
        options.properties.insert("linger.ms".to_owned(), "50".to_owned());
        options.properties.insert("security.protocol".to_owned(), "sasl_ssl".to_owned());
        options.properties.insert("sasl.mechanism".to_owned(), "SCRAM-SHA-512".to_owned());
        options.check().unwrap();
        let config = options.producer().create_native_config().unwrap();
        assert_eq!(config.get("linger.ms").unwrap(), "50");
        assert_eq!(config.get("acks").unwrap(), "-1");
        assert_eq!(config.get("enable.idempotence").unwrap(), "true");
    }

    #[test]
    fn no_broker_at_all_is_refused() {
        assert!(KafkaOptions::new(" , ").check().is_err());
    }
}
