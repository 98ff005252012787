//! How fast one core decodes flat events of about 500 bytes.
//!
//! `cargo run --release -p decode --example decode_speed [rounds]`
#![expect(clippy::print_stdout, reason = "a program for people")]

use std::sync::Arc;
use std::time::Duration;

use decode::{DecodeOptions, Decoder, EventLimits, check_event, columns};
use event::{Clock, Offset, PartitionId, Records, RecordsBuilder, TimestampMicros};

const RECORDS: u64 = 8_192;

/// A search in the ticket service: twenty fields, half of them strings, about 500 bytes.
fn event(number: u64) -> String {
    let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!(
        concat!(
            r#"{{"timestamp":"2024-03-05T{:02}:{:02}:{:02}.{:06}+09:00","event_id":"{:016x}-{:08x}","user_id":"user-{}","#,
            r#""session":"{:032x}","action":"search","category":"{}","region":"{}","keyword":"{} tickets","device":"#,
            r#""Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/{}.0.0.0","page":{},"results":{},"latency_ms":{}.{:03},"#,
            r#""price_min":{}.5,"price_max":{},"logged_in":{},"mobile":{},"referrer":"https://tickets.example/{}/{}","ab_test":"v{}","lang":"ko","#,
            r#""retry":{}}}"#
        ),
        number / 3600 % 24,
        number / 60 % 60,
        number % 60,
        spread % 1_000_000,
        spread,
        number,
        spread % 50_000,
        u128::from(spread) * 0xffff_ffff,
        ["concert", "musical", "sports"][(spread % 3) as usize],
        ["Seoul", "Busan", "Incheon", "Daegu"][(spread % 4) as usize],
        ["hamlet", "jazz", "derby"][(spread % 3) as usize],
        100 + spread % 20,
        spread % 9,
        spread % 1000,
        spread % 300,
        spread % 1000,
        spread % 50,
        spread % 500,
        spread.is_multiple_of(2),
        spread.is_multiple_of(3),
        spread % 7,
        spread % 9999,
        spread % 4,
        spread % 2,
    )
}

fn sample() -> Records {
    let mut builder = RecordsBuilder::new();
    for number in 0..RECORDS {
        builder.push(Offset(number), TimestampMicros(1_709_618_828_000_000), Some(event(number).as_bytes()));
    }
    builder.finish()
}

fn measure(name: &str, records: &Records, rounds: u32, mut work: impl FnMut()) {
    work();
    let clock = Clock::system();
    let mut best = Duration::MAX;
    for _ in 0..rounds {
        let start = clock.monotonic();
        work();
        best = best.min(clock.monotonic() - start);
    }
    let seconds = best.as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "for reading")]
    let (bytes, events) = (records.payload_bytes() as f64, records.len() as f64);
    println!(
        "{name}: {:.0} MB/s, {:.0} ns per event (best of {rounds})",
        bytes / 1e6 / seconds,
        seconds * 1e9 / events
    );
}

fn main() {
    let rounds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(50);
    let records = sample();
    println!("{} events, {} bytes each", records.len(), records.payload_bytes() / records.len());
    let limits = EventLimits::default();
    measure("check", &records, rounds, || {
        let good = records
            .iter()
            .filter_map(|record| record.payload)
            .filter(|payload| check_event(payload, limits).is_ok());
        assert_eq!(good.count(), records.len());
    });
    let options = Arc::new(DecodeOptions::default());
    let mut first = Decoder::new(Arc::clone(&options), columns::initial_schema(&options))
        .expect("the initial schema takes events");
    let discovered = first.decode(PartitionId(0), &records).discovered;
    measure("first flush, no columns yet", &records, rounds, || drop(first.decode(PartitionId(0), &records)));
    let schema = discovered.extend(first.schema(), &options);
    let mut decoder = Decoder::new(options, schema).expect("an extended schema takes events");
    measure("decode", &records, rounds, || {
        let decoded = decoder.decode(PartitionId(0), &records);
        assert!(decoded.discovered.is_empty() && decoded.rows.num_rows() == records.len());
    });
}
