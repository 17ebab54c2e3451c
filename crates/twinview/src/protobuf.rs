//! Protocol buffers on the wire, as far as event, run and ONNX files need them: protobuf.dev/programming-guides/encoding.

/// A message under construction; each method appends a field.
#[derive(Clone, Debug, Default)]
pub(super) struct Message(Vec<u8>);

impl Message {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Whole numbers, enumerations and truth values.
    pub(super) fn varint(mut self, field: u32, value: u64) -> Self {
        self.key(field, 0);
        self.push_varint(value);
        self
    }

    pub(super) fn double(mut self, field: u32, value: f64) -> Self {
        self.key(field, 1);
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(super) fn float(mut self, field: u32, value: f32) -> Self {
        self.key(field, 5);
        self.0.extend(value.to_le_bytes());
        self
    }

    /// Text or bytes.
    pub(super) fn bytes(mut self, field: u32, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref();
        self.key(field, 2);
        self.push_varint(value.len() as u64);
        self.0.extend(value);
        self
    }

    /// A message within this one.
    pub(super) fn message(self, field: u32, value: Self) -> Self {
        self.bytes(field, value.0)
    }

    /// Repeated numbers behind one key.
    pub(super) fn doubles(self, field: u32, values: impl IntoIterator<Item = f64>) -> Self {
        self.bytes(field, values.into_iter().flat_map(f64::to_le_bytes).collect::<Vec<u8>>())
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn key(&mut self, field: u32, wire: u64) {
        self.push_varint(u64::from(field) << 3 | wire);
    }

    fn push_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

/// The field number `field` of the encoded message `bytes`, the last of several; `None` where it is absent.
///
/// A varint comes as its value, all else as the bytes that it takes; what is no message has no fields.
pub(super) fn find(bytes: &[u8], field: u32) -> Option<Value<'_>> {
    let (mut rest, mut found) = (bytes, None);
    while let Some((number, value)) = take_field(&mut rest) {
        if number == u64::from(field) {
            found = Some(value);
        }
    }
    found
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    pub(super) fn varint(self) -> Option<u64> {
        if let Self::Varint(value) = self { Some(value) } else { None }
    }

    pub(super) fn bytes(self) -> Option<&'a [u8]> {
        if let Self::Bytes(value) = self { Some(value) } else { None }
    }
}

fn take_field<'a>(rest: &mut &'a [u8]) -> Option<(u64, Value<'a>)> {
    let key = take_varint(rest)?;
    let length = match key & 7 {
        0 => return Some((key >> 3, Value::Varint(take_varint(rest)?))),
        1 => 8,
        2 => usize::try_from(take_varint(rest)?).ok()?,
        5 => 4,
        _ => return None,
    };
    Some((key >> 3, Value::Bytes(rest.split_off(..length)?)))
}

fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *rest.split_off_first()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn encodes_as_the_documentation_shows() {
        // The examples of the encoding guide: 150 in field 1, "testing" in field 2, a message in field 3.
        let one = Message::new().varint(1, 150);
        assert_eq!(one.clone().into_bytes(), [0x08, 0x96, 0x01]);
        assert_eq!(Message::new().bytes(2, "testing").into_bytes(), b"\x12\x07testing");
        assert_eq!(Message::new().message(3, one).into_bytes(), [0x1a, 0x03, 0x08, 0x96, 0x01]);
        assert_eq!(Message::new().float(2, 1.0).into_bytes(), [0x15, 0, 0, 0x80, 0x3f]);
    }

    proptest! {
        #[test]
        fn what_was_written_is_found(number: u64, text: Vec<u8>, real: f64, field in 1u32..1000) {
            let bytes = Message::new().varint(field, number).double(1000, real).bytes(1001, &text).into_bytes();
            prop_assert_eq!(find(&bytes, field).and_then(Value::varint), Some(number));
            prop_assert_eq!(find(&bytes, 1001).and_then(Value::bytes), Some(text.as_slice()));
            prop_assert_eq!(find(&bytes, 1002), None);
        }

        #[test]
        fn anything_can_be_searched(bytes: Vec<u8>) {
            find(&bytes, 1);
        }
    }
}
