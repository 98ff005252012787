//! The action an event names, found without reading the rest of it.

use std::borrow::Cow;
use std::fmt;

use event::limits::LIVE_ACTION_CHARS_MAX;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

/// Text of the first top-level `field` of a JSON object, cut to
/// [`LIVE_ACTION_CHARS_MAX`] characters. A number or boolean counts by its text; null, objects,
/// arrays, what has no such field and what is no object have none.
///
/// Reads only up to the field: this runs for every event of the stream.
pub(crate) fn action(payload: &[u8], field: &str) -> Option<String> {
    let mut found = None;
    let mut json = serde_json::Deserializer::from_slice(payload);
    // The error is how reading ends early once the field was found; another one is no object.
    let _ = json.deserialize_map(FindField { field, found: &mut found });
    found
}

struct FindField<'a> {
    field: &'a str,
    found: &'a mut Option<String>,
}

impl<'de> Visitor<'de> for FindField<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(is_it) = map.next_key_seed(IsField(self.field))? {
            if is_it {
                *self.found = map.next_value::<Scalar>()?.0;
                return Err(A::Error::custom("found"));
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

struct IsField<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for IsField<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for IsField<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}

struct Scalar(Option<String>);

impl<'de> serde::Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&serde_json::value::RawValue>::deserialize(deserializer)?.get();
        let text = match raw.as_bytes().first() {
            Some(b'"') => serde_json::from_str::<Cow<'_, str>>(raw).ok(),
            Some(b'{' | b'[' | b'n') | None => None,
            Some(_) => Some(Cow::Borrowed(raw)),
        };
        Ok(Self(text.map(|text| cut(&text))))
    }
}

fn cut(text: &str) -> String {
    text.chars().take(LIVE_ACTION_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_is_found_wherever_it_stands() {
        for event in [r#"{"action":"buy","x":1}"#, r#"{"x":{"action":"no"},"y":["action"],"action" : "buy"}"#]
        {
            assert_eq!(action(event.as_bytes(), "action").as_deref(), Some("buy"));
        }
    }

    #[test]
    fn what_is_no_text_counts_by_its_text_or_not_at_all() {
        assert_eq!(action(br#"{"a":12}"#, "a").as_deref(), Some("12"));
        assert_eq!(action(br#"{"a":true}"#, "a").as_deref(), Some("true"));
        for event in [r#"{"a":null}"#, r#"{"a":{}}"#, r#"{"a":[1]}"#, r#"{"b":1}"#, "[1]", "12", "", "{\"a\""]
        {
            assert_eq!(action(event.as_bytes(), "a"), None, "{event}");
        }
    }

    #[test]
    fn escapes_and_broken_bytes_elsewhere_do_no_harm() {
        assert_eq!(action(br#"{"a":"b\u00fcy"}"#, "a").as_deref(), Some("büy"));
        assert_eq!(action(b"{\"x\":\"\xff\",\"a\":\"buy\"}", "a").as_deref(), Some("buy"));
        assert_eq!(action(b"{\"a\":\"\xff\"}", "a"), None);
    }

    #[test]
    fn a_name_is_cut_at_its_limit() {
        let event = format!(r#"{{"a":"{}"}}"#, "ä".repeat(500));
        assert_eq!(
            action(event.as_bytes(), "a").map(|name| name.chars().count()),
            Some(LIVE_ACTION_CHARS_MAX)
        );
    }
}
