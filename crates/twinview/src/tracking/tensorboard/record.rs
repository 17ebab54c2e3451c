//! The framing of event files: TensorFlow's records.

use crate::protobuf::{Value, find};

/// `data` between its length and its checksum.
pub(super) fn frame(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    [&length, &masked_crc(&length).to_le_bytes()[..], data, &masked_crc(data).to_le_bytes()].concat()
}

/// The records at the beginning of `file`, up to the first that is damaged or cut short, each with where it ends.
pub(super) fn records(file: &[u8]) -> impl Iterator<Item = (&[u8], usize)> {
    let mut place = 0;
    std::iter::from_fn(move || {
        let rest = &file[place..];
        let length = rest.first_chunk::<8>()?;
        let end = usize::try_from(u64::from_le_bytes(*length)).ok()?.checked_add(12)?;
        let data = rest.get(12..end)?;
        let sum = |at: usize| rest.get(at..)?.first_chunk::<4>().copied().map(u32::from_le_bytes);
        if sum(8)? != masked_crc(length) || sum(end)? != masked_crc(data) {
            return None;
        }
        place += end + 4;
        Some((data, place))
    })
}

/// How much of `file` is about `step` and those before it.
pub(super) fn length_until(file: &[u8], step: u64) -> usize {
    let step_of = |event: &[u8]| find(event, 2).and_then(Value::varint).unwrap_or(0);
    records(file).take_while(|(event, _)| step_of(event) <= step).last().map_or(0, |(_, end)| end)
}

/// CRC-32C, rotated and shifted so that the checksum of data with checksums in it is none of them.
fn masked_crc(data: &[u8]) -> u32 {
    let crc = !data.iter().fold(!0, |crc: u32, &byte| crc >> 8 ^ TABLE[((crc ^ u32::from(byte)) & 0xff) as usize]);
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The remainders of all bytes by Castagnoli's polynomial.
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut crc, mut bit) = (byte as u32, 0);
        while bit < 8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protobuf::Message;

    #[test]
    fn the_checksum_is_that_of_rfc_3720() {
        // Appendix B.4 of the RFC: 32 bytes of zero, and of ones.
        for (byte, crc) in [(0, 0x8a91_36aa_u32), (0xff, 0x62a8_ab43)] {
            assert_eq!(masked_crc(&[byte; 32]), crc.rotate_right(15).wrapping_add(0xa282_ead8));
        }
    }

    #[test]
    fn a_file_is_cut_behind_a_step_and_before_what_is_damaged() {
        let event = |step| frame(&Message::new().varint(2, step).into_bytes());
        let header = frame(&Message::new().bytes(3, "brain.Event:2").into_bytes());
        let file = [header.clone(), event(1), event(2), event(2), event(3)].concat();
        let (first, each) = (header.len(), event(1).len());
        for (step, expected) in [(0, first), (1, first + each), (2, first + 3 * each), (9, first + 4 * each)] {
            assert_eq!(length_until(&file, step), expected);
        }
        assert_eq!(length_until(&file[..file.len() - 1], 9), first + 3 * each);
        let mut damaged = file.clone();
        damaged[first + each + 12] ^= 1;
        assert_eq!(length_until(&damaged, 9), first + each);
        assert_eq!(length_until(&[0xff; 40], 9), 0);
    }
}
