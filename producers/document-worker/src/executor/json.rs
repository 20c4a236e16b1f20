//! Whether an output is one JSON value.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Levels that an output may be deep: less than readers of the results take (128), which find it two or three levels down.
const DEPTH_MAX: usize = 64;

/// Checks without building the value: an output of 32 MiB would be many times that in memory.
///
/// # Errors
/// What is wrong, for people.
pub(super) fn check(output: &[u8]) -> Result<(), String> {
    let told = |why: String| format!("its output is not one JSON value in UTF-8: {why}");
    if output.iter().all(u8::is_ascii_whitespace) {
        return Err(told("there is none".into()));
    }
    let text = str::from_utf8(output).map_err(|error| told(error.to_string()))?;
    let mut json = serde_json::Deserializer::from_str(text);
    Levels(DEPTH_MAX).deserialize(&mut json).and_then(|()| json.end()).map_err(|error| told(error.to_string()))
}

/// How many more there may be.
struct Levels(usize);

impl Levels {
    fn inner<E: serde::de::Error>(&self) -> Result<usize, E> {
        self.0.checked_sub(1).ok_or_else(|| E::custom(format!("it is more than {DEPTH_MAX} levels deep")))
    }
}

impl<'de> DeserializeSeed<'de> for Levels {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Levels {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let inner = self.inner()?;
        while items.next_element_seed(Levels(inner))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let inner = self.inner()?;
        while entries.next_key::<IgnoredAny>()?.is_some() {
            entries.next_value_seed(Levels(inner))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_of_any_kind_passes() {
        for output in ["{}", " [1, 2.5, -3, \"a\", null, true]\n", "\"text\"", "7", "{\"a\":{\"b\":[{}]}}"] {
            assert_eq!(check(output.as_bytes()), Ok(()), "{output}");
        }
        let deep = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert_eq!(check(deep(DEPTH_MAX).as_bytes()), Ok(()));
        assert!(check(deep(DEPTH_MAX + 1).as_bytes()).unwrap_err().contains("more than 64 levels deep"));
    }

    #[test]
    fn everything_else_is_told() {
        let cases: [(&[u8], &str); 9] = [
            (b"", "there is none"),
            (b" \n", "there is none"),
            (b"done", "expected value at line 1 column 1"),
            (b"{} {}", "trailing characters at line 1 column 4"),
            (b"{\"a\":", "EOF while parsing"),
            (b"\xff\xfe", "invalid utf-8"),
            (b"\"\\ud800\"", "unexpected end of hex escape"),
            (b"[1e999]", "number out of range"),
            (b"{1:2}", "key must be a string"),
        ];
        for (output, told) in cases {
            let why = check(output).unwrap_err();
            assert!(why.contains(told), "{why:?} should contain {told:?}");
        }
    }
}
