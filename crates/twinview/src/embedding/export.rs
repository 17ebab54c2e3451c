//! Tables of features and coordinates as files: NumPy's `.npy`, and CSV.

use std::io::Write;
use std::path::Path;

use super::Matrix;
use crate::files::write_atomic_with;
use crate::{Error, Result};

const MAGIC: &[u8] = b"\x93NUMPY";

/// Writes `table` as `.npy` (version 1.0, little-endian f32), for `numpy.load`.
pub fn write_npy(path: impl AsRef<Path>, table: Matrix<'_>) -> Result<()> {
    let shape = format!("({}, {})", table.rows(), table.columns());
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
    // The data starts at a multiple of 64 bytes, and a line feed ends the header.
    let length = (MAGIC.len() + 4 + header.len() + 1).next_multiple_of(64) - MAGIC.len() - 4;
    header = format!("{header:<width$}\n", width = length - 1);
    write_atomic_with(path, |file| {
        let mut file = std::io::BufWriter::new(file);
        file.write_all(MAGIC)?;
        file.write_all(&[1, 0])?;
        file.write_all(&(length as u16).to_le_bytes())?;
        file.write_all(header.as_bytes())?;
        table.values().iter().try_for_each(|value| file.write_all(&value.to_le_bytes()))?;
        file.flush()
    })
}

/// Reads a `.npy` file of a two-dimensional array of little-endian f32: the numbers and how many a row has.
///
/// # Errors
/// When the file is no such array or its data does not match its header.
pub fn read_npy(path: impl AsRef<Path>) -> Result<(Vec<f32>, usize)> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).map_err(|source| Error::io(path, "read the array", source))?;
    parse_npy(&bytes).map_err(|message| Error::format(path, message))
}

fn parse_npy(bytes: &[u8]) -> std::result::Result<(Vec<f32>, usize), String> {
    const WANTED: &str = "expected a .npy file of a two-dimensional float32 array in C order, as \
                          numpy.save(path, array.astype('<f4')) writes it";
    let start = match bytes {
        [0x93, b'N', b'U', b'M', b'P', b'Y', 1, _, low, high, ..] => {
            10 + usize::from(u16::from_le_bytes([*low, *high]))
        }
        [0x93, b'N', b'U', b'M', b'P', b'Y', 2 | 3, _, a, b, c, d, ..] => {
            12 + u32::from_le_bytes([*a, *b, *c, *d]) as usize
        }
        _ => return Err(format!("not a .npy file; {WANTED}")),
    };
    let (Some(header), Some(data)) = (bytes.get(10..start), bytes.get(start..)) else {
        return Err(format!("the file ends within its header; {WANTED}"));
    };
    let header: String = String::from_utf8_lossy(header).split_whitespace().collect();
    let shape = header.split_once("'shape':(").and_then(|(_, rest)| rest.split_once(')')).and_then(|(shape, _)| {
        let (rows, columns) = shape.split_once(',')?;
        Some((rows.parse::<usize>().ok()?, columns.parse::<usize>().ok().filter(|&columns| columns > 0)?))
    });
    let Some((rows, columns)) = shape else { return Err(format!("the header is {header}; {WANTED}")) };
    if !header.contains("'descr':'<f4'") || !header.contains("'fortran_order':False") {
        return Err(format!("the header is {header}; {WANTED}"));
    }
    if rows.checked_mul(columns).and_then(|count| count.checked_mul(4)) != Some(data.len()) {
        return Err(format!(
            "the header promises {rows} x {columns} numbers of 4 bytes, and {} bytes follow: the file is cut short or \
             damaged, write it again",
            data.len()
        ));
    }
    Ok((data.as_chunks::<4>().0.iter().map(|&value| f32::from_le_bytes(value)).collect(), columns))
}

/// Writes one line a row: the texts of that row, then its coordinates under the names `x`, `y`, `z` (or
/// `c0`, `c1`, ... where there are more than three). `texts` are columns with their names.
///
/// # Errors
/// When a text column has not one entry a row, or the file cannot be written.
pub fn write_csv(path: impl AsRef<Path>, texts: &[(&str, &[&str])], coordinates: Matrix<'_>) -> Result<()> {
    if let Some((name, column)) = texts.iter().find(|(_, column)| column.len() != coordinates.rows()) {
        let (rows, entries) = (coordinates.rows(), column.len());
        return Err(Error::Config(format!("the column {name} has {entries} entries for {rows} rows of coordinates")));
    }
    let name = |column: usize| match coordinates.columns() {
        1..=3 => ["x", "y", "z"][column].to_string(),
        _ => format!("c{column}"),
    };
    write_atomic_with(path, |file| {
        let mut table = csv::Writer::from_writer(file);
        let names = texts.iter().map(|(name, _)| (*name).to_owned());
        table.write_record(names.chain((0..coordinates.columns()).map(name)))?;
        for row in 0..coordinates.rows() {
            let cells = texts.iter().map(|(_, column)| column[row].to_owned());
            table.write_record(cells.chain(coordinates.row(row).iter().map(f32::to_string)))?;
        }
        table.flush()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn csv_quotes_what_needs_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("map.csv");
        let coordinates = Matrix::new(&[1.0, -2.5, 0.1, 1e-7], 2).unwrap();
        write_csv(&path, &[("class", &["a, \"b\"", "T-shirt/top"])], coordinates).unwrap();
        let expected = "class,x,y\n\"a, \"\"b\"\"\",1,-2.5\nT-shirt/top,0.1,0.0000001\n";
        assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
        let error = write_csv(&path, &[("class", &["one"])], coordinates).unwrap_err().to_string();
        assert!(error.contains("class has 1 entries for 2 rows"), "{error}");
        write_csv(&path, &[], Matrix::new(&[0.0; 4], 4).unwrap()).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "c0,c1,c2,c3\n0,0,0,0\n");
    }

    #[test]
    fn npy_starts_as_numpy_writes_it() {
        let folder = tempfile::tempdir().unwrap();
        let theirs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/embedding/features.npy");
        let (values, columns) = read_npy(&theirs).unwrap();
        let ours = folder.path().join("ours.npy");
        write_npy(&ours, Matrix::new(&values, columns).unwrap()).unwrap();
        assert!(std::fs::read(ours).unwrap() == std::fs::read(theirs).unwrap());
    }

    #[test]
    fn other_files_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table.npy");
        let error = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            let error = read_npy(&path).unwrap_err().to_string();
            assert!(error.contains("table.npy"), "{error}");
            error
        };
        write_npy(&path, Matrix::new(&[1.0; 6], 3).unwrap()).unwrap();
        let good = std::fs::read(&path).unwrap();
        let changed = |from: &str, to: &str| {
            let header = String::from_utf8_lossy(&good[10..128]).replace(from, to);
            [&good[..10], &header.as_bytes()[..118], &good[128..]].concat()
        };
        assert!(error(b"x,y\n").contains("not a .npy file"));
        assert!(error(&good[..40]).contains("within its header"));
        assert!(error(&good[..good.len() - 1]).contains("promises 2 x 3 numbers of 4 bytes, and 23 bytes follow"));
        assert!(error(&changed("<f4", "<f8")).contains("float32"));
        assert!(error(&changed("False", "True ")).contains("C order"));
        assert!(error(&changed("(2, 3)", "(6,)  ")).contains("two-dimensional"));
        assert!(error(&changed("(2, 3)", "(9999999999, 9999999999)")).contains("promises 9999999999"));
        assert!(read_npy(folder.path().join("none.npy")).unwrap_err().to_string().contains("none.npy"));
    }

    proptest! {
        #[test]
        fn npy_gives_back_what_was_written(rows in 0_usize..20, columns in 1_usize..200, seed: u64) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("table.npy");
            let values = super::super::tests::normals(rows * columns, seed);
            write_npy(&path, Matrix::new(&values, columns).unwrap()).unwrap();
            prop_assert_eq!(read_npy(&path).unwrap(), (values, columns));
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), version in 0_u8..4) {
            let _ = parse_npy(&bytes);
            let _ = parse_npy(&[MAGIC, &[version, 0], &bytes].concat());
        }
    }
}
