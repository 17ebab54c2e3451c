//! The IDX files of MNIST and its kin, gzipped or plain.
//!
//! A big-endian header (magic number, then one 32-bit size a dimension) is followed by the bytes, last dimension
//! fastest. Only unsigned bytes are read: images `[count, rows, columns]` and labels `[count]`. The format is
//! LeCun's, described on the MNIST page.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use sha2::{Digest, Sha256};

use super::Images;
use crate::{Error, Result};

/// What an IDX file holds. The discriminant is its magic number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Kind {
    /// `[count]`
    Labels = 0x801,
    /// `[count, rows, columns]`
    Images = 0x803,
}

impl Kind {
    fn dimensions(self) -> usize {
        match self {
            Kind::Labels => 1,
            Kind::Images => 3,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Labels => "labels",
            Kind::Images => "images",
        }
    }
}

/// A file that was read and found sound: exactly as many bytes as its header says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Idx {
    pub(super) kind: Kind,
    pub(super) shape: Vec<usize>,
    pub(super) bytes: Vec<u8>,
}

/// No dataset that fits in memory as this program wants it is larger; a header that says so is a broken one.
const LARGEST: usize = 1 << 31;

/// Reserved before the first byte is seen. Beyond it memory grows only with what really arrives.
const RESERVED: usize = 64 << 20;

/// Reads images: `[count, 1, rows, columns]`.
///
/// # Errors
/// When the file cannot be read, is cut off or corrupt, holds something else than images of bytes, or has sizes
/// that are 0 or do not agree with its length.
pub fn read_images(path: impl AsRef<Path>) -> Result<Images> {
    Ok(Idx::read(path.as_ref(), Kind::Images)?.into_images())
}

/// Reads labels: `[count]`.
///
/// # Errors
/// As [`read_images`].
pub fn read_labels(path: impl AsRef<Path>) -> Result<Vec<u8>> {
    Ok(Idx::read(path.as_ref(), Kind::Labels)?.bytes)
}

impl Idx {
    pub(super) fn read(path: &Path, kind: Kind) -> Result<Self> {
        let file = File::open(path).map_err(|source| Error::io(path, "open the file", source))?;
        Self::parse(BufReader::with_capacity(1 << 16, file), path, kind)
    }

    /// Whether the content is gzipped is told from its first two bytes, not from the name.
    fn parse(mut source: impl BufRead, path: &Path, kind: Kind) -> Result<Self> {
        let start = source.fill_buf().map_err(|source| Error::io(path, "read the file", source))?;
        if start.starts_with(&[0x1f, 0x8b]) {
            Self::parse_plain(MultiGzDecoder::new(source), path, kind)
        } else {
            Self::parse_plain(source, path, kind)
        }
    }

    fn parse_plain(mut source: impl Read, path: &Path, kind: Kind) -> Result<Self> {
        let shape = read_header(&mut source, path, kind)?;
        let expected = match shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size)) {
            Some(0) => {
                return Err(Error::format(path, format!("the header says {shape:?} {}: nothing to read", kind.name())));
            }
            Some(size) if size <= LARGEST => size,
            _ => {
                return Err(Error::format(
                    path,
                    format!("the header says {shape:?} {}: more than {LARGEST} bytes, so it is corrupt", kind.name()),
                ));
            }
        };
        let mut bytes = Vec::with_capacity(expected.min(RESERVED));
        source.by_ref().take(expected as u64).read_to_end(&mut bytes).map_err(|error| unreadable(path, error))?;
        if bytes.len() < expected {
            return Err(Error::format(
                path,
                format!(
                    "cut off: the header says {shape:?}, {expected} bytes, and {} are there. Get the file again",
                    bytes.len()
                ),
            ));
        }
        // Reading on to the end also makes the gzip decoder compare its checksum.
        if source.read(&mut [0]).map_err(|error| unreadable(path, error))? > 0 {
            return Err(Error::format(
                path,
                format!("more bytes follow the {expected} that the header says ({shape:?}). Get the file again"),
            ));
        }
        Ok(Self { kind, shape, bytes })
    }

    /// SHA-256 of the decompressed file, in hexadecimal. The header is rebuilt: a sound one has only one form.
    pub(super) fn sha256(&self) -> String {
        let mut hasher = Sha256::new();
        hasher.update(header(self.kind, &self.shape));
        hasher.update(&self.bytes);
        hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// # Panics
    /// When the file held labels.
    pub(super) fn into_images(self) -> Images {
        Images::new(1, self.shape[1], self.shape[2], self.bytes)
    }
}

/// The sizes in the header, once its magic number is the right one.
fn read_header(source: &mut impl Read, path: &Path, kind: Kind) -> Result<Vec<usize>> {
    let mut header = Vec::new();
    let length = 4 + 4 * kind.dimensions();
    source.take(length as u64).read_to_end(&mut header).map_err(|error| unreadable(path, error))?;
    let words: Vec<u32> =
        header.as_chunks::<4>().0.iter().map(|&[a, b, c, d]| u32::from_be_bytes([a, b, c, d])).collect();
    match words.first() {
        Some(&magic) if magic == kind as u32 => {}
        _ => return Err(Error::format(path, wrong_start(&header, kind))),
    }
    if header.len() < length {
        return Err(Error::format(
            path,
            format!("cut off: {} bytes, shorter than the {length} of a header. Get the file again", header.len()),
        ));
    }
    Ok(words[1..].iter().map(|&size| size as usize).collect())
}

/// The header of a file of this kind and shape.
pub(super) fn header(kind: Kind, shape: &[usize]) -> Vec<u8> {
    let sizes = shape.iter().map(|&size| size as u32);
    std::iter::once(kind as u32).chain(sizes).flat_map(u32::to_be_bytes).collect()
}

/// Says what a file is that does not start with the magic number of `kind`.
fn wrong_start(header: &[u8], kind: Kind) -> String {
    let other = if kind == Kind::Images { Kind::Labels } else { Kind::Images };
    let found = if header.is_empty() {
        "the file is empty".to_owned()
    } else if header.starts_with(&(other as u32).to_be_bytes()) {
        format!("these are {}; the files may have been swapped", other.name())
    } else if header.starts_with(b"<") {
        "this looks like a web page, not like data".to_owned()
    } else {
        let start: Vec<String> = header.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        format!("the file starts with the bytes {}", start.join(" "))
    };
    let magic = kind as u32;
    format!("{found}; expected an IDX file of {} (magic number {magic:08x}). Get the file again", kind.name())
}

/// Errors from the decoder are about the content, all others about the machine.
fn unreadable(path: &Path, error: std::io::Error) -> Error {
    match error.kind() {
        ErrorKind::UnexpectedEof => Error::format(path, "cut off: the gzip data ends early. Get the file again"),
        ErrorKind::InvalidData | ErrorKind::InvalidInput => {
            Error::format(path, format!("the gzip data is corrupt ({error}). Get the file again"))
        }
        _ => Error::io(path, "read the file", error),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::fixture::{gzip, images_file, labels_file};
    use super::*;

    fn parse(content: &[u8], kind: Kind) -> Result<Idx> {
        Idx::parse(content, Path::new("some/file"), kind)
    }

    fn complaint(content: &[u8], kind: Kind) -> String {
        let message = parse(content, kind).unwrap_err().to_string();
        assert!(message.starts_with("some/file: "), "{message}");
        message
    }

    #[test]
    fn reads_plain_and_gzipped_whatever_the_name() {
        let folder = tempfile::tempdir().unwrap();
        let pixels: Vec<u8> = (0..2 * 3 * 4).collect();
        for (name, content) in [
            ("plain.gz", images_file([2, 3, 4], &pixels)),
            ("zipped", gzip(&images_file([2, 3, 4], &pixels))),
            // gzip allows several members behind one another, and `cat a.gz b.gz` makes them.
            ("members", {
                let whole = images_file([2, 3, 4], &pixels);
                [gzip(&whole[..9]), gzip(&whole[9..])].concat()
            }),
        ] {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            assert_eq!(read_images(&path).unwrap(), Images::new(1, 3, 4, pixels.clone()));
        }
        let path = folder.path().join("labels");
        std::fs::write(&path, labels_file(&[3, 1, 2])).unwrap();
        assert_eq!(read_labels(&path).unwrap(), [3, 1, 2]);
    }

    #[test]
    fn says_what_is_wrong() {
        let good = images_file([2, 3, 4], &[7; 24]);
        for (content, expected) in [
            (Vec::new(), "the file is empty; expected an IDX file of images (magic number 00000803)"),
            (gzip(b""), "the file is empty"),
            (labels_file(&[1]), "these are labels; the files may have been swapped"),
            (b"<!DOCTYPE html><html></html>".to_vec(), "this looks like a web page"),
            (b"PK\x03\x04 and so on, for a while".to_vec(), "starts with the bytes 50 4b 03 04"),
            (good[..2].to_vec(), "starts with the bytes 00 00"),
            (good[..10].to_vec(), "cut off: 10 bytes, shorter than the 16 of a header"),
            (good[..20].to_vec(), "cut off: the header says [2, 3, 4], 24 bytes, and 4 are there"),
            (gzip(&good[..20]), "cut off: the header says [2, 3, 4], 24 bytes, and 4 are there"),
            ([&good[..], b"x"].concat(), "more bytes follow the 24 that the header says"),
            (gzip(&[&good[..], b"x"].concat()), "more bytes follow the 24"),
            (header(Kind::Images, &[0, 28, 28]), "[0, 28, 28] images: nothing to read"),
            (header(Kind::Images, &[5, 28, 0]), "[5, 28, 0] images: nothing to read"),
            (header(Kind::Images, &[u32::MAX as usize; 3]), "so it is corrupt"),
            (header(Kind::Images, &[1 << 16, 1 << 16, 2]), "so it is corrupt"),
            // Within the limit, yet far more than is there: must fail without asking for 2 GiB.
            (header(Kind::Images, &[1 << 16, 1 << 8, 1 << 7]), "2147483648 bytes, and 0 are there"),
        ] {
            let message = complaint(&content, Kind::Images);
            assert!(message.contains(expected), "{message}");
        }
        assert!(complaint(&good, Kind::Labels).contains("these are images"));
    }

    #[test]
    fn a_damaged_gzip_is_refused_at_every_byte() {
        let whole = gzip(&labels_file(&(0..200).map(|i| i % 10).collect::<Vec<u8>>()));
        for length in 2..whole.len() {
            let message = complaint(&whole[..length], Kind::Labels);
            assert!(message.contains("cut off"), "{length}: {message}");
        }
        // Bytes 4 to 9 are a time stamp and flags without meaning for the content.
        for place in 10..whole.len() {
            let mut damaged = whole.clone();
            damaged[place] ^= 0x20;
            assert!(parse(&damaged, Kind::Labels).is_err(), "byte {place}");
        }
        assert!(complaint(&[&whole[..], b"rubbish"].concat(), Kind::Labels).contains("gzip data"));
    }

    #[test]
    fn a_missing_file_and_a_folder_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing = read_images(folder.path().join("none.gz")).unwrap_err().to_string();
        assert!(missing.contains("none.gz: cannot open the file"), "{missing}");
        let message = read_labels(folder.path()).unwrap_err().to_string();
        assert!(message.contains("cannot"), "{message}");
    }

    /// The digest that `sha256sum` prints for these 11 bytes.
    #[test]
    fn the_digest_is_that_of_the_decompressed_file() {
        let content = labels_file(&[1, 2, 3]);
        let expected = "398a8a7fbd9531f1d9aa2ae368533e137cb53c202c3665f25affcf1ca88844ab";
        assert_eq!(parse(&content, Kind::Labels).unwrap().sha256(), expected);
        assert_eq!(parse(&gzip(&content), Kind::Labels).unwrap().sha256(), expected);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(count in 1usize..5, rows in 1usize..7, columns in 1usize..7, zip: bool, fill: u8) {
            let pixels: Vec<u8> = (0..count * rows * columns).map(|i| (i as u8).wrapping_mul(31) ^ fill).collect();
            let plain = images_file([count, rows, columns], &pixels);
            let content = if zip { gzip(&plain) } else { plain };
            let idx = parse(&content, Kind::Images).unwrap();
            prop_assert_eq!(&idx.shape, &[count, rows, columns]);
            prop_assert_eq!(idx.bytes, pixels);
        }

        #[test]
        fn arbitrary_bytes_never_panic(
            start in prop::sample::select(vec![
                vec![], vec![0x1f, 0x8b], vec![0x1f, 0x8b, 8, 0], vec![0, 0, 8, 1], vec![0, 0, 8, 3], vec![0, 0, 8, 3, 0, 0, 0]
            ]),
            rest in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let content = [start, rest].concat();
            for content in [gzip(&content), content] {
                for kind in [Kind::Images, Kind::Labels] {
                    if let Ok(idx) = parse(&content, kind) {
                        prop_assert_eq!(idx.bytes.len(), idx.shape.iter().product::<usize>());
                        prop_assert!(!idx.bytes.is_empty());
                    }
                }
            }
        }
    }
}
