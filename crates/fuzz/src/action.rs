//! The action that the live page counts.

use decode::{EventLimits, check_event};
use event::limits::LIVE_ACTION_CHARS_MAX;

use crate::borrowed::live::action::action;

/// Of an event it is the text of its first such field, as `serde_json` finds it.
pub fn run(bytes: &[u8]) {
    let found = action(bytes, "k");
    assert!(found.as_ref().is_none_or(|name| name.chars().count() <= LIVE_ACTION_CHARS_MAX));
    if check_event(bytes, EventLimits::default()).is_err() {
        return;
    }
    let Ok(serde_json::Value::Object(object)) = serde_json::from_slice(bytes) else { return };
    let Some(serde_json::Value::String(text)) = object.get("k") else { return };
    // Of equal keys `serde_json` keeps the last, the page the first.
    let is_written_once =
        String::from_utf8_lossy(bytes).matches("\"k\"").count() == 1 && !bytes.contains(&b'\\');
    if is_written_once {
        let wanted: String = text.chars().take(LIVE_ACTION_CHARS_MAX).collect();
        assert_eq!(found, Some(wanted));
    }
}
