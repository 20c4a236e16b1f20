//! placeholder
/// Headers of a message that librdkafka holds.
#[derive(Debug, Clone, Copy)]
pub struct NativeHeaders<'a>(std::marker::PhantomData<&'a ()>);
impl<'a> NativeHeaders<'a> {
    pub(crate) fn get(&self, _name: &str) -> Option<&'a [u8]> { None }
}
