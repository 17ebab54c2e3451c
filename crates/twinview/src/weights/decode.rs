//! Bytes of a file to the two element types of [`Values`].

use crate::state::Values;

/// Element types that are read; every float becomes f32, every integer i64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ElementType {
    F16,
    BF16,
    F32,
    F64,
    I32,
    I64,
}

/// What to write in an error about any other element type.
pub(super) const SUPPORTED: &str = "F32, F16, BF16, F64, I64 and I32 are read";

/// Decodes little-endian elements.
pub(super) fn decode(kind: ElementType, bytes: &[u8]) -> Values {
    match kind {
        ElementType::F16 => Values::F32(each(bytes, |element| half(u16::from_le_bytes(element)))),
        ElementType::BF16 => {
            Values::F32(each(bytes, |element| f32::from_bits(u32::from(u16::from_le_bytes(element)) << 16)))
        }
        ElementType::F32 => Values::F32(each(bytes, f32::from_le_bytes)),
        ElementType::F64 => Values::F32(each(bytes, |element| f64::from_le_bytes(element) as f32)),
        ElementType::I32 => Values::I64(each(bytes, |element| i64::from(i32::from_le_bytes(element)))),
        ElementType::I64 => Values::I64(each(bytes, i64::from_le_bytes)),
    }
}

fn each<const SIZE: usize, T>(bytes: &[u8], convert: impl Fn([u8; SIZE]) -> T) -> Vec<T> {
    bytes.as_chunks::<SIZE>().0.iter().map(|element| convert(*element)).collect()
}

/// IEEE 754 half precision: 1 sign bit, 5 bits of exponent (bias 15), 10 bits of fraction.
fn half(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let exponent = u32::from(bits >> 10) & 0x1f;
    let fraction = u32::from(bits & 0x3ff);
    let magnitude = match exponent {
        0 => (fraction as f32 / (1 << 24) as f32).to_bits(),
        0x1f => 0x7f80_0000 | fraction << 13,
        _ => (exponent + 127 - 15) << 23 | fraction << 13,
    };
    f32::from_bits(sign | magnitude)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_is_its_sign_fraction_and_power_of_two() {
        for bits in 0..=u16::MAX {
            let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff) / 1024.0);
            let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
            let expected = match exponent {
                31 if fraction == 0.0 => sign * f64::INFINITY,
                31 => f64::NAN,
                0 => sign * fraction * 2f64.powi(-14),
                _ => sign * (1.0 + fraction) * 2f64.powi(exponent - 15),
            };
            let found = f64::from(half(bits));
            assert!(
                found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan(),
                "{bits:#06x}: {found} instead of {expected}"
            );
        }
    }
}
