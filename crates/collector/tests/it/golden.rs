//! Receipts as clients have kept them: they are read for ever.

use std::fs;
use std::path::Path;

use collector::Receipt;

#[test]
fn receipts_of_format_1_name_the_places_they_have_named() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/receipts-format-1.txt");
    let text = fs::read_to_string(path).unwrap();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (written, meant) = line.split_once(" = ").unwrap();
        let receipt: Receipt = written.parse().unwrap();
        let spans = receipt.spans().iter().map(|span| {
            let range = format!("{}..{}", span.range.start(), span.range.end());
            format!("partition {} {range}{}", span.partition, if span.exact { "" } else { " among others" })
        });
        assert_eq!(format!("{}: {}", receipt.stream(), spans.collect::<Vec<_>>().join(", ")), meant);
        assert_eq!(receipt.to_string(), written);
    }
}
