//! Compressed bodies, honest and not.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::support::{Answer, Fixture};

const EVENTS: &str = "{\"a\":1}\n{\"a\":2}\n";

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn zstd(plain: &[u8]) -> Vec<u8> {
    zstd::encode_all(plain, 3).unwrap()
}

async fn post(fixture: &Fixture, encoding: &str, body: Vec<u8>) -> Answer {
    fixture.post_with(&[("content-encoding", encoding)], body).await
}

#[tokio::test]
async fn compressed_events_are_the_plain_events() {
    for (encoding, body) in [
        ("gzip", gzip(EVENTS.as_bytes())),
        ("x-gzip", gzip(EVENTS.as_bytes())),
        ("GZIP", gzip(EVENTS.as_bytes())),
        ("zstd", zstd(EVENTS.as_bytes())),
        ("identity", EVENTS.into()),
    ] {
        let fixture = Fixture::new();
        assert_eq!(post(&fixture, encoding, body).await.accepted(), 2, "{encoding}");
        assert_eq!(fixture.logged(), [r#"{"a":1}"#, r#"{"a":2}"#]);
    }
}

#[tokio::test]
async fn several_members_one_after_another_are_one_body() {
    let halves = ["{\"a\":1}\n{\"a", "\":2}\n"];
    for (encoding, body) in [
        ("gzip", halves.map(|half| gzip(half.as_bytes())).concat()),
        ("zstd", halves.map(|half| zstd(half.as_bytes())).concat()),
    ] {
        assert_eq!(post(&Fixture::new(), encoding, body).await.accepted(), 2, "{encoding}");
    }
}

#[tokio::test]
async fn a_compressed_body_that_is_damaged_is_refused_whole() {
    for (encoding, good) in [("gzip", gzip(EVENTS.as_bytes())), ("zstd", checked_zstd(EVENTS.as_bytes()))] {
        let truncated = good[..good.len() - 3].to_vec();
        let mut flipped = good.clone();
        *flipped.last_mut().unwrap() ^= 1;
        let trailing = [&good[..], b"trailing"].concat();
        for (what, bad) in
            [("truncated", truncated), ("flipped", flipped), ("trailing", trailing), ("plain", EVENTS.into())]
        {
            let fixture = Fixture::new();
            let answer = post(&fixture, encoding, bad).await;
            assert_eq!(answer.json["code"], "invalid_encoding", "{encoding} {what}: {}", answer.json);
            answer.assert_error(400, "invalid_encoding");
            assert!(fixture.logged().is_empty());
        }
    }
}

fn checked_zstd(plain: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn an_empty_compressed_body_has_no_events() {
    post(&Fixture::new(), "gzip", gzip(b"")).await.assert_error(400, "empty_body");
    post(&Fixture::new(), "zstd", zstd(b"")).await.assert_error(400, "empty_body");
    post(&Fixture::new(), "gzip", Vec::new()).await.assert_error(400, "empty_body");
}

#[tokio::test]
async fn a_gzip_bomb_is_refused() {
    let bomb = gzip(&vec![b' '; 512 * 1024 * 1024]);
    assert!(bomb.len() < 1024 * 1024);
    let answer = post(&Fixture::new(), "gzip", bomb).await;
    answer.assert_error(413, "too_large");
    assert!(answer.message().contains("when decompressed"), "{}", answer.message());
}

#[tokio::test]
async fn a_zstd_bomb_is_refused() {
    let bomb = zstd(&vec![b' '; 512 * 1024 * 1024]);
    assert!(bomb.len() < 1024 * 1024);
    post(&Fixture::new(), "zstd", bomb).await.assert_error(413, "too_large");
}

#[tokio::test]
async fn a_zstd_frame_that_asks_for_a_huge_window_is_refused() {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(27).unwrap();
    encoder.write_all(EVENTS.as_bytes()).unwrap();
    encoder.flush().unwrap();
    let body = encoder.finish().unwrap();
    post(&Fixture::new(), "zstd", body).await.assert_error(400, "invalid_encoding");
}
