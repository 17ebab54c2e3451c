//! What a pickle would call if Python loaded it, found by reading its opcodes and running none.
//!
//! A pickle is a program: `GLOBAL posix.system` and `REDUCE` run a command. Plain weights need a handful of
//! harmless names; a pickle with any other name is refused. The opcodes are those of CPython's
//! `Lib/pickletools.py`, protocols 0 to 5.

use std::collections::{BTreeSet, HashMap};

/// The longest pickle that is read. A state dict takes about 150 bytes an array, so this is ample, and it bounds
/// the memory that a made-up file can ask for.
pub(super) const LONGEST: u64 = 8 << 20;

/// The error when there is no `STOP`.
pub(super) const ENDS_TOO_EARLY: &str = "the pickle ends too early";

/// Names that only describe data.
const HARMLESS: &[&str] = &[
    "collections.OrderedDict",
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter",
    "torch.BFloat16Storage",
    "torch.BoolStorage",
    "torch.ByteStorage",
    "torch.CharStorage",
    "torch.DoubleStorage",
    "torch.FloatStorage",
    "torch.HalfStorage",
    "torch.IntStorage",
    "torch.LongStorage",
    "torch.ShortStorage",
    "torch.Size",
    "torch.device",
    "torch.float16",
    "torch.float32",
    "torch.float64",
    "torch.bfloat16",
    "torch.int64",
];

/// What [`scan`] found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scan {
    /// Bytes the pickle takes, its `STOP` included.
    pub length: usize,
    /// Every name the pickle refers to that is not known to be harmless.
    pub refused: BTreeSet<String>,
}

/// Reads the pickle at the start of `bytes`, which may go on behind it.
pub(super) fn scan(bytes: &[u8]) -> Result<Scan, String> {
    let mut reader = Reader { bytes, position: 0 };
    let mut refused = BTreeSet::new();
    let mut note = |name: String| {
        if !HARMLESS.contains(&name.as_str()) {
            refused.insert(name);
        }
    };
    // The two values on top of the stack where they are known to be these strings. Any opcode that could change
    // the top in another way forgets both, so a name put together by stack tricks counts as unknown.
    let mut top: [Option<&[u8]>; 2] = [None, None];
    let mut memo: HashMap<u32, Option<&[u8]>> = HashMap::new();
    loop {
        let code = reader.byte()?;
        let mut pushed = None;
        match code {
            b'.' => return Ok(Scan { length: reader.position, refused }),
            // PROTO and FRAME leave the stack alone, and so does writing to the memo.
            0x80 => {
                reader.take(1)?;
                continue;
            }
            0x95 => {
                reader.take(8)?;
                continue;
            }
            b'p' | b'q' | b'r' | 0x94 => {
                let index = match code {
                    b'p' => reader.decimal()?,
                    b'q' => reader.number(1)? as u32,
                    b'r' => reader.number(4)? as u32,
                    _ => memo.len() as u32,
                };
                memo.insert(index, top[1]);
                continue;
            }
            b'g' | b'h' | b'j' => {
                let index = match code {
                    b'g' => reader.decimal()?,
                    b'h' => reader.number(1)? as u32,
                    _ => reader.number(4)? as u32,
                };
                pushed = memo.get(&index).copied().flatten();
            }
            b'c' | b'i' => {
                let (module, name) = (reader.line()?, reader.line()?);
                note(dotted(module, name));
            }
            0x93 => note(match top {
                [Some(module), Some(name)] => dotted(module, name),
                _ => "a name computed while loading".into(),
            }),
            0x82..=0x84 => {
                let number = reader.number(1 << (code - 0x82))?;
                note(format!("number {number} of Python's extension registry"));
            }
            b'X' | b'T' => pushed = Some(reader.counted(4)?),
            b'U' | 0x8c => pushed = Some(reader.counted(1)?),
            0x8d => pushed = Some(reader.counted(8)?),
            b'B' | 0x8b => drop(reader.counted(4)?),
            b'C' | 0x8a => drop(reader.counted(1)?),
            0x8e | 0x96 => drop(reader.counted(8)?),
            b'I' | b'L' | b'F' | b'V' | b'S' | b'P' => drop(reader.line()?),
            b'K' => drop(reader.take(1)?),
            b'M' => drop(reader.take(2)?),
            b'J' => drop(reader.take(4)?),
            b'G' => drop(reader.take(8)?),
            b'(' | b'0' | b'1' | b'2' | b'N' | b'R' | b'b' | b'd' | b'l' | b't' | b's' | b'a' | b'o' | b'Q' => {}
            b')' | b']' | b'}' | b'e' | b'u' | 0x81 | 0x85..=0x89 | 0x8f..=0x92 | 0x97 | 0x98 => {}
            _ => return Err(format!("byte {} of the pickle, {code:#04x}, is no pickle opcode", reader.position - 1)),
        }
        top = match pushed {
            Some(_) => [top[1], pushed],
            None => [None, None],
        };
    }
}

fn dotted(module: &[u8], name: &[u8]) -> String {
    format!("{}.{}", String::from_utf8_lossy(module), String::from_utf8_lossy(name))
}

/// A place in the pickle; every read is checked against its end.
struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        let taken = rest.get(..length).ok_or(ENDS_TOO_EARLY)?;
        self.position += length;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    /// A little-endian number of `size` bytes, at most 8.
    fn number(&mut self, size: usize) -> Result<u64, String> {
        Ok(self.take(size)?.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    /// A length of `size` bytes and as many bytes as it says.
    fn counted(&mut self, size: usize) -> Result<&'a [u8], String> {
        let length = self.number(size)?;
        self.take(usize::try_from(length).map_err(|_| ENDS_TOO_EARLY)?)
    }

    fn line(&mut self) -> Result<&'a [u8], String> {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        let end = rest.iter().position(|&byte| byte == b'\n').ok_or(ENDS_TOO_EARLY)?;
        self.position += end + 1;
        Ok(rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]))
    }

    fn decimal(&mut self) -> Result<u32, String> {
        let line = String::from_utf8_lossy(self.line()?);
        line.parse().map_err(|_| format!("{line:?} is no place in the pickle's memo"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(pickle: &[u8]) -> Vec<String> {
        let found = scan(pickle).unwrap();
        assert_eq!(found.length, pickle.len());
        found.refused.into_iter().collect()
    }

    #[test]
    fn names_are_found_in_every_spelling() {
        assert!(refused(b"\x80\x02ccollections\nOrderedDict\n)R.").is_empty());
        assert_eq!(refused(b"cposix\nsystem\n(Vls\ntR."), ["posix.system"]);
        assert_eq!(refused(b"cposix\r\nsystem\r\n(Vls\ntR."), ["posix.system"]);
        assert_eq!(refused(b"(Vls\niposix\nsystem\n."), ["posix.system"]);
        assert_eq!(refused(b"\x80\x04\x8c\x08builtins\x94\x8c\x04eval\x94\x93)R."), ["builtins.eval"]);
        // Through the memo, as a second object of one class is written.
        assert_eq!(refused(b"\x80\x04\x8c\x02os\x94\x8c\x04exec\x940h\x00h\x01\x93."), ["os.exec"]);
        assert_eq!(refused(b"\x80\x02\x82\x07."), ["number 7 of Python's extension registry"]);
    }

    #[test]
    fn a_name_put_together_by_stack_tricks_is_unknown() {
        // `os`, `system`, then a harmless pair that is popped again.
        let tricked = b"\x8c\x02os\x8c\x06system\x8c\x0bcollections\x8c\x0bOrderedDict00\x93.";
        assert_eq!(refused(tricked), ["a name computed while loading"]);
        // An escape in a protocol 0 string: `\u0073ystem`.
        assert_eq!(refused(b"Vos\nV\\u0073ystem\n\x93."), ["a name computed while loading"]);
    }

    #[test]
    fn what_is_cut_or_no_pickle_is_an_error() {
        for broken in
            [&b""[..], b"cposix", b"\x8c\xffshort", b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffx", b"gx\n", b"\xff."]
        {
            assert!(scan(broken).is_err(), "{broken:?}");
        }
    }
}
