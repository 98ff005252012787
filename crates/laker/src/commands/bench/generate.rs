//! Ticket events of about 500 bytes: a search, a view or a purchase, the same for the same number.

use bytes::Bytes;
use event::TimestampMicros;
use serde_json::json;

const REGIONS: &[&str] = &["seoul", "busan", "berlin", "lagos", "lima", "osaka", "oslo", "quito"];
const CATEGORIES: &[&str] = &["concert", "musical", "theatre", "sports", "exhibition"];
const KEYWORDS: &[&str] =
    &["jazz", "hamlet", "derby", "monet", "swan lake", "indie rock", "chess", "improv", "opera", "k-pop"];
const DEVICES: &[&str] = &["mobile", "desktop", "tablet"];

/// The event numbered `number`, as a client would send it around `now`.
pub(super) fn event(number: u64, now: TimestampMicros) -> Bytes {
    let mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let pick = |of: &'static [&'static str], shift: u32| of[(mixed >> shift) as usize % of.len()];
    let millis = now.0 / 1000 - 1000 + i64::try_from(number % 1000).unwrap_or(0);
    let mut event = json!({
        "_id": format!("{:016x}-{number:012}", mixed),
        "timestamp": millis,
        "user_id": format!("user-{:05}", mixed % 20_000),
        "session": format!("{:016x}", mixed.rotate_left(17)),
        "device": pick(DEVICES, 7),
        "region": pick(REGIONS, 13),
        "category": pick(CATEGORIES, 19),
        "keyword": pick(KEYWORDS, 29),
        "app": { "version": format!("4.{}.{}", mixed % 12, mixed % 7), "language": "en", "experiment": (mixed % 3) },
        "referrer": format!("https://tickets.example/{}/{}", pick(CATEGORIES, 19), mixed % 977),
        "user_agent": "Mozilla/5.0 (Linux; Android 16; Pixel 9) AppleWebKit/537.36 Mobile Safari/537.36",
    });
    let shape = match mixed % 10 {
        0 => json!({ "action": "purchase", "show_id": mixed % 5_000, "quantity": 1 + mixed % 4,
                     "total": 29.5 + (mixed % 400) as f64 / 4.0, "seats": ["A1", "A2"] }),
        1..=3 => {
            json!({ "action": "view", "show_id": mixed % 5_000, "price": 29.5 + (mixed % 100) as f64, "position": mixed % 20 })
        }
        _ => json!({ "action": "search", "results": mixed % 240, "took_ms": mixed % 90, "page": mixed % 5 }),
    };
    if let (Some(event), serde_json::Value::Object(shape)) = (event.as_object_mut(), shape) {
        event.extend(shape);
    }
    Bytes::from(event.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_about_five_hundred_bytes() {
        let bytes: usize =
            (0..1000).map(|number| event(number, TimestampMicros(1_800_000_000_000_000)).len()).sum();
        assert!((450..=550).contains(&(bytes / 1000)), "{} bytes", bytes / 1000);
    }
}
