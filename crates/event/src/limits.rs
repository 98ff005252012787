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
/// Bytes of request bodies in flight in one collector; beyond it the answer is 503.
pub const COLLECTOR_IN_FLIGHT_BYTES_MAX: usize = 256 * MIB;
/// Time one append may take before the collector answers 503.
pub const APPEND_DEADLINE: Duration = Duration::from_secs(30);
/// Seconds a client is asked to wait after a 503.
pub const RETRY_AFTER_SECONDS: u32 = 2;

/// Bytes in one fetch handed from a log reader to the loader.
pub const FETCH_BYTES_MAX: usize = 4 * MIB;
/// Records in one fetch.
pub const FETCH_RECORDS_MAX: usize = 16_384;
/// Fetches waiting between the consumer thread and the decoder.
pub const FETCH_QUEUE_MAX: usize = 8;
/// Longest the consumer thread waits for records before it looks at requests again.
pub const POLL_WAIT: Duration = Duration::from_millis(50);

/// Bytes of not yet landed log that one SQL query reads; beyond it the answer says it was cut.
pub const SEAM_BYTES_MAX: usize = 64 * MIB;
/// Rows one SQL answer holds in JSON form; beyond it the answer says it was cut.
pub const QUERY_ROWS_MAX: usize = 1_000_000;
/// Time one SQL statement may take.
pub const QUERY_DEADLINE: Duration = Duration::from_secs(300);

/// Commit attempts that meet a conflict before the loader reads the table anew.
pub const COMMIT_ATTEMPTS_MAX: usize = 15;
/// First pause after a failed attempt; it doubles up to [`RETRY_PAUSE_MAX`].
pub const RETRY_PAUSE_MIN: Duration = Duration::from_millis(100);
/// Longest pause between attempts.
pub const RETRY_PAUSE_MAX: Duration = Duration::from_secs(10);
/// Time a start-up check of a connection may take.
pub const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// Time from SIGTERM until the process ends, whatever is open.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(25);

/// Events the live page's server keeps for a page that connects.
pub const LIVE_EVENTS_KEPT: usize = 200;
/// Events waiting for one slow live reader; it is told how many it missed.
pub const LIVE_QUEUE_MAX: usize = 1_024;
/// Distinct actions counted by the live page; the rest is counted as "other".
pub const LIVE_ACTIONS_MAX: usize = 50;

const _: () = assert!(BODY_BYTES_MAX <= BODY_DECOMPRESSED_BYTES_MAX, "a plain body must pass its own decompressed limit");
const _: () = assert!(EVENT_BYTES_MAX <= BODY_DECOMPRESSED_BYTES_MAX, "the largest event must fit into a body");
const _: () = assert!(BODY_DECOMPRESSED_BYTES_MAX < u32::MAX as usize, "records address their buffer with 32 bits");
const _: () = assert!(FETCH_BYTES_MAX + EVENT_BYTES_MAX < u32::MAX as usize, "records address their buffer with 32 bits");
