//! How programs of all kinds read a path: what each of them would look for below its root.
//!
//! Written without a look at how the proxy judges paths: it is what that is measured by.

/// One way to read a path.
#[derive(Debug, Clone, Copy)]
struct Reader {
    /// How often `%XX` is decoded.
    decodes: usize,
    /// Segments are looked for after decoding.
    decodes_first: bool,
    folds_backslash: bool,
    parameters: Parameters,
    merges_slashes: bool,
    /// `?`, `#` and NUL end the path also when they were encoded.
    cuts: bool,
    /// Decodes UTF-8 without checks, and cuts blanks off.
    is_careless: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Parameters {
    Kept,
    CutFirst,
    CutAfterDecoding,
}

/// What somebody took a path for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub segments: Vec<Vec<u8>>,
    /// It led above the root.
    pub went_above: bool,
    /// Who it was.
    pub reader: String,
}

impl Found {
    /// Whether it is below a directory of the root, or that itself.
    pub fn is_below(&self, directory: &str) -> bool {
        let first = self.segments.first().map(Vec::as_slice);
        !self.went_above && first == Some(directory.as_bytes())
    }
}

/// What all readers take `path` for.
pub fn readings(path: &str) -> Vec<Found> {
    let both = [false, true];
    let mut found = Vec::new();
    for decodes in 0..=2 {
        for decodes_first in both {
            for folds_backslash in both {
                for parameters in [
                    Parameters::Kept,
                    Parameters::CutFirst,
                    Parameters::CutAfterDecoding,
                ] {
                    for merges_slashes in both {
                        for cuts in both {
                            for is_careless in both {
                                let reader = Reader {
                                    decodes,
                                    decodes_first,
                                    folds_backslash,
                                    parameters,
                                    merges_slashes,
                                    cuts,
                                    is_careless,
                                };
                                found.push(reader.read(path.as_bytes()));
                            }
                        }
                    }
                }
            }
        }
    }
    found
}

impl Reader {
    fn read(self, path: &[u8]) -> Found {
        let mut path = path.to_vec();
        if self.parameters == Parameters::CutFirst {
            path = cut_parameters(&path);
        }
        let parts = if self.decodes_first {
            self.split(&self.decode(path))
        } else {
            let raw: Vec<Vec<u8>> = path
                .split(|byte| *byte == b'/')
                .map(<[u8]>::to_vec)
                .collect();
            let mut parts = Vec::new();
            for part in raw {
                let part = self.decode(part);
                match self.folds_backslash {
                    true => parts.extend(part.split(|byte| *byte == b'\\').map(<[u8]>::to_vec)),
                    false => parts.push(part),
                }
            }
            parts
        };
        let mut found = Found {
            segments: Vec::new(),
            went_above: false,
            reader: format!("{self:?}"),
        };
        for part in parts.into_iter().skip(1) {
            let part = self.finish(part);
            match part.as_slice() {
                b"" if self.merges_slashes => {}
                b"." => {}
                b".." => found.went_above |= found.segments.pop().is_none(),
                _ => found.segments.push(part),
            }
        }
        found
    }

    fn decode(self, mut text: Vec<u8>) -> Vec<u8> {
        for _ in 0..self.decodes {
            text = decode(&text);
        }
        if self.is_careless {
            text = decode_carelessly(&text);
        }
        let is_end = |byte: &u8| matches!(byte, b'?' | b'#' | 0);
        if self.cuts
            && let Some(end) = text.iter().position(is_end)
        {
            text.truncate(end);
        }
        text
    }

    fn split(self, text: &[u8]) -> Vec<Vec<u8>> {
        let is_separator = |byte: &u8| *byte == b'/' || (self.folds_backslash && *byte == b'\\');
        text.split(is_separator).map(<[u8]>::to_vec).collect()
    }

    fn finish(self, mut part: Vec<u8>) -> Vec<u8> {
        if self.parameters == Parameters::CutAfterDecoding
            && let Some(end) = part.iter().position(|byte| *byte == b';')
        {
            part.truncate(end);
        }
        if self.is_careless {
            part = part.trim_ascii().to_vec();
        }
        part
    }
}

fn cut_parameters(path: &[u8]) -> Vec<u8> {
    let parts = path.split(|byte| *byte == b'/');
    let cut = parts.map(|part| part.split(|byte| *byte == b';').next().unwrap_or_default());
    cut.collect::<Vec<_>>().join(&b'/')
}

fn decode(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let digits = text
            .get(at + 1..at + 3)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        let is_hex = |digits: &&str| digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let byte = digits
            .filter(is_hex)
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte.filter(|_| text[at] == b'%') {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(text[at]);
                at += 1;
            }
        }
    }
    out
}

/// Takes the bits of two, three and four byte sequences together, whatever they are.
fn decode_carelessly(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let (length, mask) = match text[at] {
            0xc0..=0xdf => (2, 0x1f),
            0xe0..=0xef => (3, 0x0f),
            0xf0..=0xf7 => (4, 0x07),
            _ => (1, 0xff),
        };
        let rest = text.get(at + 1..at + length).unwrap_or_default();
        let value = rest.iter().fold(u32::from(text[at] & mask), |value, byte| {
            value << 6 | u32::from(byte & 0x3f)
        });
        if length > 1 && rest.len() == length - 1 && value < 0x80 {
            out.push(u8::try_from(value).unwrap());
            at += length;
        } else {
            out.push(text[at]);
            at += 1;
        }
    }
    out
}
