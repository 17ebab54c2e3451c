//! Decoded pictures, kept for the next time.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use sha2::{Digest, Sha256};

use super::form::Form;
use crate::{Result, files};

/// What such a file begins with. To be changed when decoding is.
const MAGIC: &[u8; 8] = b"twinpix1";
/// Below so many pictures decoding is quick, and files of strangers need not pile up.
const LEAST: usize = 64;

/// The file for one folder in one form: there is one at a time, whatever becomes of the folder.
#[derive(Debug)]
pub(super) struct Cache {
    file: PathBuf,
    /// Of every picture's name, size and time of change.
    fingerprint: [u8; 32],
}

impl Cache {
    /// The file below `cache` for `pictures` below `root`; `None` where it would not be worth it or something cannot be told.
    pub(super) fn of(cache: &Path, root: &Path, pictures: &[PathBuf], form: Form) -> Option<Self> {
        if pictures.len() < LEAST {
            return None;
        }
        let place = Sha256::new()
            .chain_update(root.canonicalize().ok()?.as_os_str().as_encoded_bytes())
            .chain_update(form.to_string())
            .finalize();
        let name: String = place.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let mut hash = Sha256::new();
        for picture in pictures {
            let metadata = fs::metadata(root.join(picture)).ok()?;
            let changed = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?.as_nanos();
            let name = picture.as_os_str().as_encoded_bytes();
            hash.update((name.len() as u64).to_le_bytes());
            hash.update(name);
            hash.update(metadata.len().to_le_bytes());
            hash.update(changed.to_le_bytes());
        }
        Some(Self { file: cache.join(super::NAME).join(name), fingerprint: hash.finalize().into() })
    }

    /// The `length` bytes that were kept, if they are of the pictures as they are now.
    pub(super) fn read(&self, length: usize) -> Option<Vec<u8>> {
        let mut file = fs::File::open(&self.file).ok()?;
        let mut head = [0; MAGIC.len() + 32];
        if file.metadata().ok()?.len() != (head.len() + length) as u64 {
            return None;
        }
        file.read_exact(&mut head).ok()?;
        if head[..MAGIC.len()] != *MAGIC || head[MAGIC.len()..] != self.fingerprint {
            return None;
        }
        let mut pixels = Vec::with_capacity(length);
        file.read_to_end(&mut pixels).ok().filter(|&read| read == length)?;
        Some(pixels)
    }

    pub(super) fn write(&self, pixels: &[u8]) -> Result<()> {
        files::write_atomic_with(&self.file, |file| {
            file.write_all(MAGIC)?;
            file.write_all(&self.fingerprint)?;
            file.write_all(pixels)
        })
    }
}
