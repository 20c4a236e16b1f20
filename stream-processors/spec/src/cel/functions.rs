//! The functions of the language.

use super::call::{Call, Part};
use tidemark_core::value::Type;

/// The functions, as people write them, and what they do: for messages and the reference.
pub const FUNCTIONS: &[(&str, &str)] = &[
    ("size(string) -> int", "characters in a string, or bytes in bytes"),
    ("string.startsWith(string) -> bool", "whether it begins with the other"),
    ("string.endsWith(string) -> bool", "whether it ends with the other"),
    ("string.contains(string) -> bool", "whether the other is in it"),
    ("string.matches(regex) -> bool", "whether the regular expression (RE2 syntax, a literal) is found in it"),
    ("string.lowerAscii() -> string", "with A to Z in lower case"),
    ("string.upperAscii() -> string", "with a to z in upper case"),
    ("string.trim() -> string", "without white space at both ends"),
    ("string.substring(int[, int]) -> string", "from one character, counted from 0, to before another"),
    ("string.replace(string, string) -> string", "with every occurrence of the first replaced by the second"),
    ("string.indexOf(string) -> int", "the character at which the other is first found; -1 when it is not"),
    ("int(x) -> int", "of a number (towards zero), a string, or a timestamp (seconds since the epoch)"),
    ("double(x) -> double", "of a number or a string"),
    ("string(x) -> string", "of any value"),
    ("timestamp(x) -> timestamp", "of an RFC 3339 string, or seconds since the epoch"),
    ("millis(timestamp) -> int", "milliseconds since the epoch"),
    ("timestamp.getFullYear() -> int", "the year, UTC"),
    ("timestamp.getMonth() -> int", "the month, UTC, from 0"),
    ("timestamp.getDayOfMonth() -> int", "the day of the month, UTC, from 0"),
    ("timestamp.getDayOfWeek() -> int", "the day of the week, UTC, Sunday is 0"),
    ("timestamp.getDayOfYear() -> int", "the day of the year, UTC, from 0"),
    ("timestamp.getHours() -> int", "the hour, UTC"),
    ("timestamp.getMinutes() -> int", "the minute, UTC"),
    ("timestamp.getSeconds() -> int", "the second, UTC"),
    ("timestamp.getMilliseconds() -> int", "the millisecond, UTC"),
    ("coalesce(x, y, …)", "the first that is not null"),
];

/// `size` of `size(string) -> int`, `trim` of `string.trim() -> string`.
pub fn function_name(form: &str) -> &str {
    let head = form.split('(').next().unwrap_or_default();
    head.rsplit('.').next().unwrap_or_default()
}

pub(super) fn described(name: &str) -> &str {
    FUNCTIONS.iter().map(|(form, _)| *form).find(|form| function_name(form) == name).unwrap_or(name)
}

/// A function's code, whose it is, the types that it takes (an empty list: a whole number that may be left out), and its own.
pub(super) type Signature = (Call, &'static str, &'static [&'static [Type]], Type);

pub(super) fn signature(name: &str) -> Option<Signature> {
    use Type::{Boolean, Bytes, Double, Integer, Long, Text, Time};
    const TEXT: &[Type] = &[Text];
    const ANY: &[Type] = &[Boolean, Long, Double, Integer, Text, Bytes, Time];
    const NUMERIC: &[Type] = &[Long, Double, Integer, Text];
    let of_text = |call: Call, args: &'static [&'static [Type]], gives: Type| Some((call, "string.", args, gives));
    let plain = |call: Call, args: &'static [&'static [Type]], gives: Type| Some((call, "", args, gives));
    const OF_TIME: &[&[Type]] = &[&[Time]];
    let part = |part| Some((Call::Part(part), "timestamp.", OF_TIME, Long));
    let no_pattern = || regex::Regex::new("").ok();
    match name {
        "size" => Some((Call::Size, "any", &[&[Text, Bytes]], Long)),
        "startsWith" => of_text(Call::StartsWith, &[TEXT, TEXT], Boolean),
        "endsWith" => of_text(Call::EndsWith, &[TEXT, TEXT], Boolean),
        "contains" => of_text(Call::Contains, &[TEXT, TEXT], Boolean),
        "matches" => Some((Call::Matches(no_pattern()?), "any", &[TEXT, TEXT], Boolean)),
        "lowerAscii" => of_text(Call::LowerAscii, &[TEXT], Text),
        "upperAscii" => of_text(Call::UpperAscii, &[TEXT], Text),
        "trim" => of_text(Call::Trim, &[TEXT], Text),
        "substring" => of_text(Call::Substring, &[TEXT, &[Long], &[]], Text),
        "replace" => of_text(Call::Replace, &[TEXT, TEXT, TEXT], Text),
        "indexOf" => of_text(Call::IndexOf, &[TEXT, TEXT], Long),
        "int" => plain(Call::Int, &[&[Long, Double, Integer, Text, Time]], Long),
        "double" => plain(Call::Double, &[NUMERIC], Double),
        "string" => plain(Call::String, &[ANY], Text),
        "timestamp" => plain(Call::Timestamp, &[&[Time, Text, Long]], Time),
        "millis" => plain(Call::Millis, &[&[Time]], Long),
        "getFullYear" => part(Part::FullYear),
        "getMonth" => part(Part::Month),
        "getDayOfMonth" => part(Part::DayOfMonth),
        "getDayOfWeek" => part(Part::DayOfWeek),
        "getDayOfYear" => part(Part::DayOfYear),
        "getHours" => part(Part::Hours),
        "getMinutes" => part(Part::Minutes),
        "getSeconds" => part(Part::Seconds),
        "getMilliseconds" => part(Part::Milliseconds),
        _ => None,
    }
}
