//! The two grammars of a workflow command in a line, and their escapes, as the runner has them
//! (actions/runner, `ActionCommand.cs`). Pure, std only.

/// The parts of a line that has the form of a command, with any name.
pub(super) struct Parts<'a> {
    pub(super) name: &'a [u8],
    pub(super) text: Text<'a>,
}

/// What follows the name, still escaped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Text<'a> {
    dialect: Dialect,
    properties: &'a [u8],
    data: &'a [u8],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    /// `::name key=value,key=value::data` after leading whitespace.
    Colons,
    /// `##[name key=value;key=value]data` anywhere in the line.
    Hashes,
}

type Escapes = [(&'static [u8], u8)];

/// The escapes of line ends.
const LINE_ENDS: &Escapes = &[(b"%0D", b'\r'), (b"%0A", b'\n')];

// === impl Text ===

impl Text<'_> {
    /// The data, unescaped.
    pub(super) fn data(self) -> Vec<u8> {
        unescape(self.data, self.dialect.data_escapes())
    }

    /// The data unescaped, as written, and with only line ends unescaped, each once.
    pub(super) fn readings(self) -> Vec<Vec<u8>> {
        let mut readings = vec![self.data()];
        if self.data.contains(&b'%') {
            readings.push(self.data.to_vec());
            readings.push(unescape(self.data, LINE_ENDS));
            readings.sort_unstable();
            readings.dedup();
        }
        readings
    }

    /// The unescaped value of a property.
    pub(super) fn property(self, key: &str) -> Option<Vec<u8>> {
        let mut pairs = self.properties.split(|byte| *byte == self.dialect.separator());
        let value = pairs.find_map(|pair| {
            let at = pair.iter().position(|byte| *byte == b'=')?;
            let (name, value) = (pair.get(..at)?, pair.get(at + 1..)?);
            name.trim_ascii().eq_ignore_ascii_case(key.as_bytes()).then_some(value)
        })?;
        Some(unescape(value, self.dialect.property_escapes()))
    }
}

// === impl Dialect ===

impl Dialect {
    fn separator(self) -> u8 {
        match self {
            Self::Colons => b',',
            Self::Hashes => b';',
        }
    }

    fn data_escapes(self) -> &'static Escapes {
        match self {
            Self::Colons => &[(b"%0D", b'\r'), (b"%0A", b'\n'), (b"%25", b'%')],
            Self::Hashes => &[(b"%3B", b';'), (b"%0D", b'\r'), (b"%0A", b'\n'), (b"%5D", b']')],
        }
    }

    fn property_escapes(self) -> &'static Escapes {
        match self {
            Self::Colons => {
                &[(b"%0D", b'\r'), (b"%0A", b'\n'), (b"%3A", b':'), (b"%2C", b','), (b"%25", b'%')]
            }
            Self::Hashes => self.data_escapes(),
        }
    }
}

/// Whether a line may contain a command; most cannot.
pub fn may_be_command(line: &[u8]) -> bool {
    trim_start(line).starts_with(b"::") || line.windows(3).any(|window| window == b"##[")
}

/// The parts of a line by each grammar that it has the form of, in the runner's order.
pub(super) fn parts(line: &[u8]) -> impl Iterator<Item = Parts<'_>> {
    [colons(line), hashes(line)].into_iter().flatten()
}

fn colons(line: &[u8]) -> Option<Parts<'_>> {
    let rest = trim_start(line).strip_prefix(b"::")?;
    let end = rest.windows(2).position(|pair| pair == b"::")?;
    Some(split(rest.get(..end)?, rest.get(end + 2..)?, Dialect::Colons))
}

/// The runner skips all Unicode whitespace.
fn trim_start(line: &[u8]) -> &[u8] {
    match line.first() {
        Some(b' ' | b'\t'..=b'\r' | 0x80..) => {
            let text = line.utf8_chunks().next().map_or("", |chunk| chunk.valid());
            line.get(text.len() - text.trim_start().len()..).unwrap_or_default()
        }
        _ => line,
    }
}

fn hashes(line: &[u8]) -> Option<Parts<'_>> {
    let at = line.windows(3).position(|window| window == b"##[")?;
    let rest = line.get(at + 3..)?;
    let end = rest.iter().position(|byte| *byte == b']')?;
    Some(split(rest.get(..end)?, rest.get(end + 1..)?, Dialect::Hashes))
}

fn split<'a>(head: &'a [u8], data: &'a [u8], dialect: Dialect) -> Parts<'a> {
    let end = head.iter().position(|byte| *byte == b' ').unwrap_or(head.len());
    let (name, properties) = head.split_at_checked(end).unwrap_or((head, &[]));
    Parts { name, text: Text { dialect, properties: properties.trim_ascii(), data } }
}

fn unescape(data: &[u8], escapes: &Escapes) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len());
    let mut rest = data;
    while let Some((first, tail)) = rest.split_first() {
        let known = escapes.iter().find(|(from, _)| *first == b'%' && rest.starts_with(from));
        let (byte, tail) = match known {
            Some((from, to)) => (*to, rest.get(from.len()..).unwrap_or_default()),
            None => (*first, tail),
        };
        out.push(byte);
        rest = tail;
    }
    out
}
