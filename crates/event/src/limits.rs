//! Every limit of the system, and how they relate. Units are last in the name.
//! What a user may want to change is a setting; its default stands in `laker.toml`.

use std::time::Duration;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Largest HTTP request body as it arrives, before decompression.
pub const BODY_BYTES_MAX: usize = 16 * MIB;
/// Largest body after decompression: what a gzip bomb meets.
pub const BODY_DECOMPRESSED_BYTES_MAX: usize = 64 * MIB;
/// Events in one request.
pub const REQUEST_EVENTS_MAX: usize = 100_000;
/// Largest single event at the collector and in the loader; a larger one from Kafka is a dead letter.
/// Kafka's own default (`message.max.bytes`) is 1 MiB, raised in our producer to this.
pub const EVENT_BYTES_MAX: usize = 16 * MIB;
/// Deepest nesting of arrays and objects that is still an event; deeper is a dead letter.
pub const EVENT_DEPTH_MAX: usize = 128;
/// Largest back-reference window of a zstd body, as a power of two: the 8 MiB that RFC 9659 allows on
/// the web. What a frame that asks for more memory than it is worth meets.
pub const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// Time between two pieces of a request body; beyond it the answer is 408.
pub const BODY_IDLE_DEADLINE: Duration = Duration::from_secs(30);
/// Time that a body still arriving at shutdown has to end; beyond it the answer is 503. Well below
/// [`SHUTDOWN_GRACE`], so that one stuck client does not keep the loader from landing.
pub const BODY_FINISH_DEADLINE: Duration = Duration::from_secs(5);
/// Bytes of a refused body that are read and thrown away, so that the client, still sending, gets
/// to see the answer instead of a reset connection.
pub const BODY_DISCARDED_BYTES_MAX: usize = 64 * MIB;
/// Time that throwing away a refused body may take.
pub const BODY_DISCARD_DEADLINE: Duration = Duration::from_secs(10);
/// Ranges of offsets one receipt spells out; beyond it there is one per partition.
pub const RECEIPT_RANGES_MAX: usize = 64;
/// Bytes of request bodies in flight in one collector; beyond it the answer is 503.
pub const COLLECTOR_IN_FLIGHT_BYTES_MAX: usize = 256 * MIB;
/// Time one append may take before the collector answers 503.
pub const APPEND_DEADLINE: Duration = Duration::from_secs(30);
/// Bytes after which `laker send` ends a request.
pub const SEND_BYTES_MAX: usize = 4 * MIB;
/// Seconds a client is asked to wait after a 503.
pub const RETRY_AFTER_SECONDS: u32 = 2;

/// Appends waiting for the embedded log's writer; more wait outside the queue.
pub const EMBEDDED_QUEUE_MAX: usize = 4_096;
/// Bytes of appends waiting for the embedded log's writer or being written.
pub const EMBEDDED_QUEUE_BYTES_MAX: usize = BODY_DECOMPRESSED_BYTES_MAX;
/// Bytes the embedded log writes with one fsync; an append that crosses it is still taken along.
pub const EMBEDDED_GROUP_BYTES_MAX: usize = 8 * MIB;
/// Bytes of one stored batch of the embedded log, unless a single event is larger.
pub const EMBEDDED_BATCH_BYTES_MAX: usize = MIB;
/// Partitions of one topic of the embedded log.
pub const EMBEDDED_PARTITIONS_MAX: u32 = 1_024;

/// Bytes handed to the Kafka producer that brokers have not acknowledged yet; more wait outside.
pub const KAFKA_IN_FLIGHT_BYTES_MAX: usize = BODY_DECOMPRESSED_BYTES_MAX;
/// Kafka clients that read for queries at the same time, each with its own connections.
pub const KAFKA_READERS_MAX: usize = 8;

/// Pause between two looks at how much open transactions hold back.
pub const OPEN_TRANSACTION_LOOK_PAUSE: Duration = Duration::from_secs(1);
/// Time a transaction may stay open at the end of what is read before a person is told. Kafka itself
/// ends one after `transaction.timeout.ms`, a minute if its producer did not say otherwise.
pub const OPEN_TRANSACTION_WARN_AFTER: Duration = Duration::from_secs(90);
/// Time without any news of a topic after which it is asked whether it is still the same.
pub const TOPIC_QUIET_MAX: Duration = Duration::from_secs(10);
/// Bytes of spooled events that go into Kafka in one transaction; an event that crosses it is taken along.
pub const SPOOL_FORWARD_BYTES_MAX: usize = 4 * MIB;
/// Time one step of forwarding may take: a connection, the events of a transaction, its commit. All of
/// a transaction may take twice that; requests wait while the last one goes over.
pub const SPOOL_FORWARD_DEADLINE: Duration = Duration::from_secs(10);
/// Time after which Kafka gives up a transaction of a forwarder that has died in it. So long, at most,
/// readers do not see what others append behind it.
pub const SPOOL_TRANSACTION_DEADLINE: Duration = Duration::from_secs(30);

/// Bytes in one fetch handed from a log reader to the loader.
pub const FETCH_BYTES_MAX: usize = 4 * MIB;
/// Records in one fetch.
pub const FETCH_RECORDS_MAX: usize = 16_384;
/// Fetches waiting between the consumer thread and the decoder.
pub const FETCH_QUEUE_MAX: usize = 8;
/// Longest the consumer thread waits for records before it looks at requests again.
pub const POLL_WAIT: Duration = Duration::from_millis(50);

/// Encoded bytes of one Parquet row group: what a reader must hold to read it.
pub const ROW_GROUP_BYTES_MAX: usize = 64 * MIB;
/// Batches of one loader between encoder and commit.
pub const BATCHES_IN_FLIGHT_MAX: usize = 2;
/// Files of one batch that are uploaded at once.
pub const UPLOADS_MAX: usize = 4;
/// Time a revoked partition may wait for its batch to land before the batch is dropped.
pub const REVOKE_DRAIN_MAX: Duration = Duration::from_secs(10);

/// Bytes of a column's name; the value of a longer key stays in the residual.
pub const COLUMN_NAME_BYTES_MAX: usize = 255;
/// Keys one level of the decoder remembers beside its columns', so as not to judge them each time.
pub const DECODE_KEYS_KEPT_MAX: usize = 4_096;
/// Fields without a column that one flush tells apart. Far more than a table may have columns, and
/// few enough to hold in memory; further ones wait for a later flush.
pub const DISCOVERED_FIELDS_MAX: usize = 16_384;
/// Fields and reasons whose conflicts are counted apart; the rest is counted together.
pub const CONFLICT_KINDS_MAX: usize = 1_000;

/// Bytes of not yet landed log that one SQL query reads; beyond it the answer says it was cut.
pub const SEAM_BYTES_MAX: usize = 64 * MIB;
/// Rows one SQL answer holds in JSON form; beyond it the answer says it was cut.
pub const QUERY_ROWS_MAX: usize = 1_000_000;
/// Time one SQL statement may take.
pub const QUERY_DEADLINE: Duration = Duration::from_secs(300);
/// Memory for the intermediate results of all SQL statements together.
pub const QUERY_MEMORY_BYTES: usize = 512 * MIB;
/// Memory for footers of Parquet files, kept between statements.
pub const QUERY_FOOTER_BYTES: usize = 64 * MIB;
/// SQL statements that run at a time.
pub const QUERY_RUNNING_MAX: usize = 8;
/// SQL statements that wait for their turn; the next one is answered 503.
pub const QUERY_WAITING_MAX: usize = 256;

/// Commit attempts that meet a conflict before the loader reads the table anew.
pub const COMMIT_ATTEMPTS_MAX: usize = 15;
/// First pause after a failed attempt; it doubles up to [`RETRY_PAUSE_MAX`].
pub const RETRY_PAUSE_MIN: Duration = Duration::from_millis(100);
/// Longest pause between attempts.
pub const RETRY_PAUSE_MAX: Duration = Duration::from_secs(10);
/// Attempts of one request to the lake before its caller hears of it; the loader goes on from there.
pub const STORE_ATTEMPTS_MAX: usize = 5;
/// Time one request to the lake may take, its body included: a full file over a slow line.
pub const STORE_REQUEST_DEADLINE: Duration = Duration::from_secs(180);
/// Entries of a table's log that are searched for a batch whose outcome was unknown; if it is not
/// among them, its partition is read again from the table's position, which is safe either way.
pub const COMMIT_SEARCH_MAX: usize = 10_000;
/// Requests to the lake one table has open at the same time.
pub const STORE_PARALLEL_MAX: usize = 16;
/// Time a start-up check of a connection may take.
pub const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// Time from SIGTERM until the process ends, whatever is open.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(25);

/// Pause until a loader that waits for a person looks whether it can go on.
pub const HALTED_LOOK_PAUSE: Duration = Duration::from_secs(15);
/// Time `/readyz` gives the log to answer.
pub const READY_DEADLINE: Duration = Duration::from_secs(3);
/// Time open connections have to end once the process closes its port.
pub const CONNECTIONS_CLOSE_MAX: Duration = Duration::from_secs(2);

/// Events the live page's server keeps for a page that connects.
pub const LIVE_EVENTS_KEPT: usize = 200;
/// Events kept for live readers, so waiting for the slowest of them; it is told how many it missed.
pub const LIVE_QUEUE_MAX: usize = 16_384;
/// Bytes of those events, over all readers of a stream.
pub const LIVE_QUEUE_BYTES_MAX: usize = 16 * MIB;
/// Bytes of one event that live readers are shown; what is longer is cut, and says so.
pub const LIVE_EVENT_BYTES_MAX: usize = 64 * KIB;
/// Newest events of one read of the log that live readers are shown; of the others they get the count.
pub const LIVE_SHOWN_PER_READ_MAX: usize = 4_096;
/// Live readers of one stream at a time; the next one is answered 503.
pub const LIVE_READERS_MAX: usize = 256;
/// Seconds of rolling counts.
pub const LIVE_WINDOW_SECONDS: usize = 600;
/// Longest pause between two reads of the end of the log when the last one found nothing.
pub const LIVE_POLL_PAUSE: Duration = Duration::from_millis(100);
/// Time the live reader may spend without reaching the log's end; then it skips there, and says so.
pub const LIVE_BEHIND_MAX: Duration = Duration::from_secs(10);
/// Pause between two questions for the log's partitions and watermarks.
pub const LIVE_DESCRIBE_PAUSE: Duration = Duration::from_secs(2);
/// Pause between two signs of life to a live reader that has no events.
pub const LIVE_HEARTBEAT: Duration = Duration::from_secs(15);
/// Characters of an action's name that are told apart.
pub const LIVE_ACTION_CHARS_MAX: usize = 64;
/// Largest SQL statement over HTTP.
pub const SQL_BYTES_MAX: usize = 256 * KIB;
/// Distinct actions counted by the live page; the rest is counted as "other".
pub const LIVE_ACTIONS_MAX: usize = 50;

/// Data files that `laker verify` reads at the same time.
pub const VERIFY_FILES_MAX: usize = 2;
/// Bytes of a data file up to which `laker verify` holds it in memory, so as to fetch it once.
pub const VERIFY_HELD_BYTES_MAX: u64 = 256 * MIB as u64;
/// Bytes of the log that `laker verify` reads at a time.
pub const VERIFY_LOG_BYTES_MAX: usize = 16 * MIB;
/// Ranges of offsets that one problem spells out, and problems that a report spells out.
pub const VERIFY_TOLD_MAX: usize = 1_000;
/// Stretches of 65,536 offsets whose contents differ from the log in which the rows are looked for.
pub const VERIFY_SEARCHED_MAX: usize = 256;
/// Commits that the answer to one receipt tells apart; the rest is told as one.
pub const RECEIPT_LANDINGS_MAX: usize = 64;
/// Dead letters that the answer to one receipt names.
pub const RECEIPT_DEAD_MAX: usize = 1_000;
/// Dead letters that one `laker dead replay` lands in one commit.
pub const REPLAY_LETTERS_MAX: usize = 10_000;
/// Bytes of dead letters in one commit of a replay, unless a single one is larger.
pub const REPLAY_BYTES_MAX: usize = 64 * MIB;

const _: () = assert!(
    BODY_BYTES_MAX <= BODY_DECOMPRESSED_BYTES_MAX,
    "a plain body must pass its own decompressed limit"
);
const _: () =
    assert!(EVENT_BYTES_MAX <= BODY_DECOMPRESSED_BYTES_MAX, "the largest event must fit into a body");
const _: () =
    assert!(BODY_DECOMPRESSED_BYTES_MAX < u32::MAX as usize, "records address their buffer with 32 bits");
const _: () =
    assert!(LIVE_EVENTS_KEPT <= LIVE_QUEUE_MAX, "what a new reader is shown is kept in the same queue");
const _: () = assert!(LIVE_SHOWN_PER_READ_MAX <= LIVE_QUEUE_MAX, "one read must not push its own events out");
const _: () = assert!(
    FETCH_BYTES_MAX + EVENT_BYTES_MAX < u32::MAX as usize,
    "records address their buffer with 32 bits"
);
