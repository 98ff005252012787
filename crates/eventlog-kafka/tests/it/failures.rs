use std::net::TcpListener;

use bytes::Bytes;
use event::{Clock, ErrorKind};
use eventlog::{EventLog, LogError};
use eventlog_kafka::{KafkaLog, KafkaOptions};

use crate::cluster::{brokers, connect, new_topic};

fn connect_error(options: KafkaOptions) -> LogError {
    KafkaLog::connect(options, Clock::system()).unwrap_err()
}

#[test]
fn no_broker_there_is_said_with_address_and_reason() {
    // A port that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = connect_error(KafkaOptions::new(format!("127.0.0.1:{port}")));
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let message = error.to_string();
    assert!(message.contains(&port.to_string()) && message.contains("refused"), "{message}");
}

#[test]
fn a_host_that_does_not_exist_is_said() {
    let error = connect_error(KafkaOptions::new("no-such-host.invalid:9092"));
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("no-such-host.invalid"), "{error}");
}

/// Something listens, but it never answers: the deadline ends it.
#[test]
fn a_broker_that_never_answers_is_not_waited_for_without_end() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let error = connect_error(KafkaOptions::new(address.clone()));
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains(&address), "{error}");
}

#[test]
fn tls_to_a_broker_without_it_is_an_error_that_says_so() {
    let Some(brokers) = brokers() else { return };
    let mut options = KafkaOptions::new(brokers);
    options.properties.insert("security.protocol".to_owned(), "ssl".to_owned());
    let error = connect_error(options).to_string();
    assert!(error.to_lowercase().contains("ssl"), "{error}");
}

#[test]
fn credentials_nobody_asked_for_are_an_error() {
    let Some(brokers) = brokers() else { return };
    let mut options = KafkaOptions::new(brokers);
    for (name, value) in [
        ("security.protocol", "sasl_plaintext"),
        ("sasl.mechanism", "SCRAM-SHA-256"),
        ("sasl.username", "somebody"),
        ("sasl.password", "not-to-be-seen"),
    ] {
        options.properties.insert(name.to_owned(), value.to_owned());
    }
    let error = connect_error(options).to_string();
    assert!(!error.contains("not-to-be-seen"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_over_the_topics_limit_is_a_matter_of_settings() {
    let Some(brokers) = brokers() else { return };
    let topic = new_topic(&brokers, 1, &[("max.message.bytes", "1000")]).await;
    let log = connect(&brokers);
    // Not compressible, so that it is as large on the wire.
    let clock = Clock::system();
    let noise: Vec<u8> = (0..20_000).map(|_| u8::try_from(clock.random_below(256)).unwrap()).collect();
    let error = log.append(&topic, vec![Bytes::from(noise)]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Settings, "{error}");
    assert!(error.to_string().contains("max.message.bytes"), "{error}");
    log.append(&topic, vec![Bytes::from_static(b"{}")]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_not_printed() {
    let Some(brokers) = brokers() else { return };
    let mut options = KafkaOptions::new(brokers);
    options.properties.insert("sasl.password".to_owned(), "not-to-be-seen".to_owned());
    let log = KafkaLog::connect(options, Clock::system()).unwrap();
    assert!(!format!("{log:?}").contains("not-to-be-seen"));
}
