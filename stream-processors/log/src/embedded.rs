//! placeholder
/// The value of the last header called `name`.
pub(crate) fn header<'a>(_bytes: &'a [u8], _name: &str) -> Option<&'a [u8]> { None }
