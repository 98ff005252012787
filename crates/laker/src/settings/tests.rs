use std::io::Write;
use std::time::Duration;

use super::*;

fn file(text: &str) -> (tempfile::NamedTempFile, Sources) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let sources = Sources { file: Some(file.path().to_owned()), ..Sources::default() };
    (file, sources)
}

fn refused(text: &str) -> String {
    let (_file, sources) = file(text);
    Settings::load(sources).unwrap_err().to_string()
}

#[test]
fn without_any_setting_there_is_the_stream_logs_in_a_folder() {
    let settings = Settings::load(Sources::default()).unwrap();
    assert_eq!(settings.log, LogUrl::Folder(PathBuf::from("./laker-data/log")));
    assert_eq!(settings.lake, "file:./laker-data/lake");
    assert_eq!(settings.streams.len(), 1);
    let logs = settings.stream("logs").unwrap();
    assert_eq!((logs.topic.as_str(), logs.table.as_str()), ("logs", "logs"));
    assert_eq!(logs.format, TableFormat::Delta);
    assert_eq!(logs.flush.age_max, Duration::from_secs(30));
    assert_eq!(logs.flush.bytes_max, 128_000_000);
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let (_file, mut sources) = file("listen = \"a:1\"\nlog = \"file:./a\"\nlake = \"file:./a\"\n");
    sources.environment.insert("LAKER_LISTEN".to_owned(), "b:2".to_owned());
    sources.environment.insert("LAKER_LOG".to_owned(), "kafka://b:2".to_owned());
    sources.flags.push(("listen".to_owned(), "c:3".to_owned()));
    let settings = Settings::load(sources).unwrap();
    assert_eq!(settings.listen, "c:3");
    assert_eq!(settings.log, LogUrl::Kafka("b:2".to_owned()));
    assert_eq!(settings.lake, "file:./a");
    let text = settings.describe();
    assert!(
        text.contains("command line") && text.contains("LAKER_LOG") && text.contains("default"),
        "{text}"
    );
}

#[test]
fn a_stream_of_ones_own_has_the_defaults_of_the_page_and_not_those_of_another_stream() {
    let (_file, sources) = file("[streams.logs]\nflush_rows = 5\n[streams.web]\nformat = \"parquet\"\n");
    let settings = Settings::load(sources).unwrap();
    assert_eq!(settings.stream("logs").unwrap().flush.rows_max, 5);
    assert_eq!(settings.stream("web").unwrap().flush.rows_max, 1_000_000);
    assert_eq!(settings.stream("web").unwrap().format, TableFormat::Parquet);
    assert_eq!(settings.default_stream().as_str(), "logs");
}

#[test]
fn only_configured_streams_exist() {
    let (_file, sources) = file("[streams.web]\n");
    let settings = Settings::load(sources).unwrap();
    assert!(settings.stream("logs").is_none());
    assert_eq!(settings.default_stream().as_str(), "web");
}

#[test]
fn a_stream_setting_can_come_from_the_environment_and_from_a_flag() {
    let mut sources = Sources::default();
    sources.environment.insert("LAKER_STREAMS_LOGS_FLUSH_AFTER".to_owned(), "1s".to_owned());
    sources.flags.push(("streams.logs.flush_rows".to_owned(), "7".to_owned()));
    let settings = Settings::load(sources).unwrap();
    let logs = settings.stream("logs").unwrap();
    assert_eq!((logs.flush.age_max, logs.flush.rows_max), (Duration::from_secs(1), 7));
}

#[test]
fn kafka_properties_keep_their_dots_quoted_or_not() {
    let (_file, sources) =
        file("[kafka]\n\"security.protocol\" = \"SSL\"\nsasl.username = \"u\"\nsocket.timeout.ms = 500\n");
    let settings = Settings::load(sources).unwrap();
    assert_eq!(settings.kafka["security.protocol"], "SSL");
    assert_eq!(settings.kafka["sasl.username"], "u");
    assert_eq!(settings.kafka["socket.timeout.ms"], "500");
}

#[test]
fn columns_by_hand_are_taken_with_their_types() {
    let (_file, sources) = file("[streams.logs.columns]\nprice = \"double\"\n");
    let settings = Settings::load(sources).unwrap();
    assert_eq!(settings.stream("logs").unwrap().decode.columns.len(), 1);
}

#[test]
fn secrets_are_not_shown() {
    let (_file, mut sources) = file("[kafka]\nsasl.password = \"hunter2\"\n");
    sources.environment.insert("AWS_SECRET_ACCESS_KEY".to_owned(), "hunter3".to_owned());
    sources.environment.insert("AWS_REGION".to_owned(), "moon-1".to_owned());
    let text = Settings::load(sources).unwrap().describe();
    assert!(!text.contains("hunter"), "{text}");
    assert!(text.contains("moon-1") && text.contains("(hidden)"), "{text}");
}

#[test]
fn wrong_settings_say_which_where_and_what_instead() {
    let cases = [
        ("listn = \"a:1\"", "did you mean `listen`"),
        ("[streams.logs]\nflush_rowz = 1", "did you mean `streams.logs.flush_rows`"),
        ("[streams.logs]\nflush_after = \"30\"", "\"30s\""),
        ("[streams.logs]\nflush_rows = 0", "from 1 to"),
        ("[streams.logs]\nformat = \"orc\"", "\"delta\" or \"parquet\""),
        ("[streams.logs]\ntime_zone = \"Mars\"", "IANA"),
        ("[streams.logs]\npartition_by = [\"country\"]", "event_date"),
        ("[streams.logs]\ncolumns = { price = \"dubble\" }", "streams.logs.columns.price"),
        ("[streams.\"a b\"]", "stream name"),
        ("[streams.a]\ntable = \"t\"\n[streams.b]\ntable = \"T\"", "of another stream"),
        ("[streams.a]\ntopic = \"t\"\n[streams.b]\ntopic = \"t\"", "of another stream"),
        ("log = \"ftp://x\"", "kafka://host:9092"),
        ("log = \"kafka://x\"", "host:port"),
        ("lake = \"gs://x\"", "s3://bucket/prefix"),
        ("listen = \"7777\"", "127.0.0.1:7777"),
        ("listen = 7777 7", "no valid TOML"),
    ];
    for (text, expected) in cases {
        let message = refused(text);
        assert!(message.contains(expected), "{text}\n  said: {message}\n  not:  {expected}");
    }
}

#[test]
fn a_settings_file_that_is_named_must_be_there() {
    let sources = Sources { file: Some(PathBuf::from("no/such/laker.toml")), ..Sources::default() };
    assert!(Settings::load(sources).unwrap_err().to_string().contains("no/such/laker.toml"));
}

#[test]
fn every_setting_is_on_the_page_of_defaults() {
    let page = include_str!("../../../../laker.toml");
    for key in keys::PROCESS_KEYS.iter().chain(keys::STREAM_KEYS) {
        assert!(page.contains(key), "{key} is missing in laker.toml");
    }
}

#[test]
fn a_spool_is_off_until_asked_for_and_stands_only_in_front_of_kafka() {
    assert_eq!(Settings::load(Sources::default()).unwrap().spool, None);
    let (_file, sources) = file("log = \"kafka://a:1\"\nspool = true\nspool_bytes = \"1GB\"\n");
    let spool = Settings::load(sources).unwrap().spool.unwrap();
    assert_eq!(spool.folder, PathBuf::from("./laker-data/spool"));
    assert_eq!((spool.bytes_max, spool.after), (1_000_000_000, Duration::from_secs(5)));
    assert!(refused("spool = true\n").contains("`log` is a folder"));
}

#[test]
fn a_spool_that_could_not_work_is_refused_with_the_setting() {
    for (line, key) in [
        ("spool_bytes = \"1MB\"", "spool_bytes"),
        ("spool_after = \"10ms\"", "spool_after"),
        ("spool_after = \"1m\"", "spool_after"),
        ("spool_folder = \"s3://bucket\"", "spool_folder"),
    ] {
        let text = refused(&format!("log = \"kafka://a:1\"\nspool = true\n{line}\n"));
        assert!(text.contains(key), "{text}");
    }
    assert!(refused("spool = \"perhaps\"\n").contains("true or false"));
}

/// A settings file of the first version, every key in it. It is read for ever, to the same values.
#[test]
fn a_settings_file_of_format_1_means_what_it_has_meant() {
    let (_file, mut sources) = file(include_str!("../../tests/golden/settings-format-1.toml"));
    sources.environment.insert("LAKER_STREAMS_WEB_FLUSH_ROWS".to_owned(), "77".to_owned());
    let settings = Settings::load(sources).unwrap();
    assert_eq!(settings.listen, "0.0.0.0:8080");
    assert_eq!(settings.log, LogUrl::Kafka("one:9092,two:9092".to_owned()));
    assert_eq!(settings.lake, "s3://bucket/prefix");
    assert_eq!((settings.log_partitions, settings.log_retention_bytes), (7, 2_000_000_000));
    assert_eq!((settings.group.as_str(), settings.kafka["security.protocol"].as_str()), ("loaders", "SSL"));
    let web = settings.stream("web").unwrap();
    assert_eq!((web.topic.as_str(), web.table.as_str()), ("web-clicks", "clicks"));
    assert_eq!((web.format, web.start), (TableFormat::Parquet, loader::StartPolicy::Latest));
    assert_eq!((web.flush.rows_max, web.flush.bytes_max), (77, 64 * 1024 * 1024));
    assert_eq!(web.flush.age_max, Duration::from_millis(1_500));
    let decode = &web.decode;
    assert_eq!((decode.event_time.as_deref(), decode.event_id.as_deref()), (Some("at"), Some("id")));
    assert_eq!((decode.time_zone.name(), decode.columns_max, decode.depth_max), ("Asia/Seoul", 50, 4));
    let columns: Vec<_> = decode.columns.iter().map(|(name, of)| format!("{name} {of:?}")).collect();
    assert_eq!(columns, ["price Double", "tags List(String)"]);
}
