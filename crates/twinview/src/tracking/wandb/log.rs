//! The framing of W&B's run files: LevelDB's log in blocks of 32 KiB, behind a header of seven bytes.

/// `:W&B`, the magic number 0xBEE1, and version 0.
pub(super) const HEADER: [u8; 7] = [b':', b'W', b'&', b'B', 0xe1, 0xbe, 0];
const BLOCK: usize = 32768;
/// Checksum, length and kind before each piece of a record.
const PIECE: usize = 7;
const FULL: u8 = 1;
const FIRST: u8 = 2;
const MIDDLE: u8 = 3;
const LAST: u8 = 4;

/// `record` as it is appended to a file of `length` bytes: in as many pieces as blocks it reaches into.
pub(super) fn frame(record: &[u8], length: usize) -> Vec<u8> {
    let (mut framed, mut rest, mut is_first) = (Vec::with_capacity(record.len() + PIECE), record, true);
    loop {
        let left = BLOCK - (length + framed.len()) % BLOCK;
        if left < PIECE {
            // Too little for a piece stays empty.
            framed.resize(framed.len() + left, 0);
            continue;
        }
        let (piece, behind) = rest.split_at(rest.len().min(left - PIECE));
        let kind = match (is_first, behind.is_empty()) {
            (true, true) => FULL,
            (true, false) => FIRST,
            (false, false) => MIDDLE,
            (false, true) => LAST,
        };
        framed.extend(checksum(kind, piece).to_le_bytes());
        framed.extend((piece.len() as u16).to_le_bytes());
        framed.push(kind);
        framed.extend(piece);
        if behind.is_empty() {
            return framed;
        }
        (rest, is_first) = (behind, false);
    }
}

/// The records at the beginning of `file`, up to the first that is damaged or cut short, each with where it ends.
pub(super) fn records(file: &[u8]) -> impl Iterator<Item = (Vec<u8>, usize)> {
    let mut place = if file.starts_with(&HEADER) { HEADER.len() } else { file.len() };
    std::iter::from_fn(move || {
        let mut record = Vec::new();
        loop {
            let left = BLOCK - place % BLOCK;
            if left < PIECE {
                place += left;
                continue;
            }
            let &[c0, c1, c2, c3, l0, l1, kind] = file.get(place..)?.first_chunk::<PIECE>()?;
            let piece = file.get(place + PIECE..)?.get(..usize::from(u16::from_le_bytes([l0, l1])))?;
            if u32::from_le_bytes([c0, c1, c2, c3]) != checksum(kind, piece) {
                return None;
            }
            record.extend(piece);
            place += PIECE + piece.len();
            match kind {
                FULL | LAST => return Some((record, place)),
                FIRST | MIDDLE => {}
                _ => return None,
            }
        }
    })
}

/// CRC-32 of zlib over kind and data; LevelDB's own would be another, and masked.
fn checksum(kind: u8, data: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[kind]);
    hasher.update(data);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_framed_is_read(sizes in prop::collection::vec(prop_oneof![0..100usize, 32700..32780usize, 0..100_000usize], 0..8)) {
            let expected: Vec<Vec<u8>> = sizes.iter().map(|&size| (0..size).map(|at| (at * 7 + size) as u8).collect()).collect();
            let mut file = HEADER.to_vec();
            for record in &expected {
                file.extend(frame(record, file.len()));
            }
            let found: Vec<(Vec<u8>, usize)> = records(&file).collect();
            prop_assert_eq!(found.last().map_or(HEADER.len(), |(_, end)| *end), file.len());
            prop_assert_eq!(found.into_iter().map(|(record, _)| record).collect::<Vec<_>>(), expected);
            // A file that was cut short loses its last record and no other.
            let whole = records(&file[..file.len() - 1]).count();
            prop_assert_eq!(whole, sizes.len().saturating_sub(1));
        }

        #[test]
        fn anything_can_be_read(bytes: Vec<u8>) {
            records(&[HEADER.as_slice(), &bytes].concat()).count();
        }
    }
}
