//! Cut, changed and made-up files give an error or the arrays, never a panic.

use proptest::prelude::*;

use super::*;

const FILES: [&str; 8] = [
    "classifier.pt",
    "classifier-legacy.pt",
    "classifier.safetensors",
    "checkpoint.pt",
    "deep-legacy.pt",
    "kinds.pt",
    "kinds.safetensors",
    "simsiam-protocol4.pt",
];

fn load_bytes(bytes: &[u8]) -> Result<Weights> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, bytes).unwrap();
    load(&path)
}

#[test]
fn a_cut_file_is_an_error() {
    for name in FILES {
        let bytes = fs::read(golden(name)).unwrap();
        for length in (0..bytes.len()).step_by(bytes.len() / 40).chain([bytes.len() - 1]) {
            let message = load_bytes(&bytes[..length]).unwrap_err().to_string();
            assert!(message.contains("damaged") || message.contains("neither"), "{name} cut to {length}: {message}");
        }
    }
}

#[test]
fn a_view_far_larger_than_the_file_is_refused() {
    // The one element behind `expanded`, repeated 2^30 times.
    let mut bytes = fs::read(golden("huge-view-legacy.pt")).unwrap();
    let message = load_bytes(&bytes).unwrap_err().to_string();
    assert!(message.contains("far larger than the file") && message.contains("[1073741824]"), "{message}");
    // A safetensors header that claims 2^60 values.
    bytes = br#"{"a":{"dtype":"F32","shape":[1152921504606846976],"data_offsets":[0,4611686018427387904]}}"#.to_vec();
    let mut file = (bytes.len() as u64).to_le_bytes().to_vec();
    file.extend(bytes);
    let message = load_bytes(&file).unwrap_err().to_string();
    assert!(message.contains("damaged safetensors file"), "{message}");
}

#[test]
fn a_pickle_too_long_for_a_state_dict_is_refused() {
    // One text of 9 MiB, in the container of a legacy file.
    let mut bytes = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}.\x80\x02X".to_vec();
    bytes.extend((9_u32 << 20).to_le_bytes());
    bytes.resize(bytes.len() + (9 << 20), b'a');
    bytes.extend(b".\x80\x02].");
    let message = load_bytes(&bytes).unwrap_err().to_string();
    assert!(message.contains("longer than 8 MiB"), "{message}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn changed_bytes_do_not_panic(
        file in 0..FILES.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        // Pickles and headers are near one end of the file; change those as often as the arrays.
        window in prop::sample::select(vec![64_usize, 512, 4096, usize::MAX]),
        from_end in any::<bool>(),
    ) {
        let mut bytes = fs::read(golden(FILES[file])).unwrap();
        let window = window.min(bytes.len());
        let start = if from_end { bytes.len() - window } else { 0 };
        for (index, byte) in changes {
            bytes[start + index.index(window)] = byte;
        }
        if let Ok(weights) = load_bytes(&bytes) {
            for array in weights.state.values() {
                prop_assert_eq!(array.shape.iter().product::<usize>(), array.values.len());
            }
        }
    }

    #[test]
    fn made_up_files_do_not_panic(
        head in prop::sample::select(vec![
            &b""[..], b"PK\x03\x04", b"\x80\x02", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.",
            b"\x40\0\0\0\0\0\0\0{\"a\":",
        ]),
        tail in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let bytes = [head, &tail].concat();
        prop_assert!(load_bytes(&bytes).is_err());
    }

    #[test]
    fn made_up_opcodes_do_not_panic(
        opcodes in prop::collection::vec(
            prop::sample::select(b"\x80\x02.NKM(tRbQqh\x85\x86\x87\x94\x93}u]ae0012X\x01\0\0\0cos\nsystem\n".to_vec()), 0..60,
        ),
    ) {
        let bytes = [b"\x80\x02".as_slice(), &opcodes].concat();
        // Whatever the reader makes of it, no such pickle holds a tensor.
        prop_assert!(load_bytes(&bytes).is_err());
    }
}
