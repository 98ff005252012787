//! The text of a receipt.

use collector::Receipt;

/// A text is a receipt only if a receipt is written so, and its spans are in order and not empty.
pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(receipt) = text.parse::<Receipt>() else { return };
    assert_eq!(receipt.to_string(), text);
    let places: Vec<_> = receipt.spans().iter().map(|span| (span.partition, span.range)).collect();
    assert!(!places.is_empty() && places.iter().all(|(_, range)| !range.is_empty()));
    assert!(places.windows(2).all(|pair| (pair[0].0, pair[0].1.end()) <= (pair[1].0, pair[1].1.start())));
}
