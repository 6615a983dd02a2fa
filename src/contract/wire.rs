//! Frames, and the encoding of values in them: the length of what follows (u32, little endian),
//! then one value. Integers are little endian, text and lists begin with a u32 count, an option
//! with one byte.
//!
//! Decoding never allocates more than the bytes that arrived, and rejects trailing bytes.

/// Most bytes of a frame before the peer is authenticated.
pub const MAX_HELLO_BYTES: usize = 1024;
/// Most bytes of a request: the environment of a step (the kernel's own limit for environment and
/// arguments is 2 MiB with the default stack limit), or a small file.
pub const MAX_REQUEST_BYTES: usize = 4 * 1024 * 1024;
/// Most bytes of a reply: a chunk of output, or a list of steps.
pub const MAX_REPLY_BYTES: usize = 256 * 1024;

/// A buffer that grew for a long frame is shrunk to this size.
const KEPT_BYTES: usize = 64 * 1024;
/// Bytes of a frame's length.
pub(super) const LENGTH_BYTES: usize = 4;
/// Bytes that encryption adds to a frame.
pub const SEAL_BYTES: usize = 16;

/// Why a frame is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It is longer than the receiver accepts.
    #[error("frame of {bytes} bytes is over the limit of {limit}")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// It ends inside a value.
    #[error("frame ends inside a value")]
    Short,
    /// Bytes follow the value.
    #[error("frame has {0} bytes after its value")]
    Left(usize),
    /// A tag that this version does not know.
    #[error("unknown {what} {tag}")]
    Tag {
        /// The type.
        what: &'static str,
        /// The tag.
        tag: u8,
    },
    /// Text that is not UTF-8.
    #[error("text is not utf-8")]
    Text,
    /// An encrypted frame that was not sent by the peer, was changed, or is out of order.
    #[error("a frame cannot be authenticated")]
    Seal,
}

/// A piece of output or of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chunk(pub Vec<u8>);

/// Splits a stream of bytes into frames, without I/O: [`Frames::feed`] takes what arrived,
/// [`Frames::next_frame`] returns complete frames.
#[derive(Debug)]
pub struct Frames {
    buffer: Vec<u8>,
    /// Start of the next frame in the buffer.
    start: usize,
    limit: usize,
}

/// A value that a frame can contain.
pub(super) trait Wire: Sized {
    /// Appends the value.
    fn put(&self, out: &mut Vec<u8>);
    /// Decodes the value from the front.
    fn take(input: &mut Input<'_>) -> Result<Self, Malformed>;
}

/// The rest of a frame.
pub(super) struct Input<'a>(&'a [u8]);

/// Encodes a value as a whole frame; an error if it is longer than `limit`.
pub(super) fn frame(value: &impl Wire, limit: usize) -> Result<Vec<u8>, Malformed> {
    let mut body = Vec::new();
    value.put(&mut body);
    let bytes = body.len();
    let length = u32::try_from(bytes).ok().filter(|_| bytes <= limit);
    let length = length.ok_or(Malformed::TooLong { bytes, limit })?;
    let mut frame = Vec::with_capacity(LENGTH_BYTES + bytes + SEAL_BYTES);
    length.put(&mut frame);
    frame.append(&mut body);
    Ok(frame)
}

/// Decodes a frame's contents.
pub(super) fn value<T: Wire>(body: &[u8]) -> Result<T, Malformed> {
    let mut input = Input(body);
    let value = T::take(&mut input)?;
    match input.0.len() {
        0 => Ok(value),
        left => Err(Malformed::Left(left)),
    }
}

// === impl Frames ===

impl Frames {
    /// Accepts frames of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { buffer: Vec::new(), start: 0, limit }
    }

    /// Changes the limit for later frames.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Adds bytes that arrived.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
            self.buffer.shrink_to(KEPT_BYTES);
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The contents of the next complete frame, if it has arrived. After an error the stream cannot
    /// be used any more.
    pub fn next_frame(&mut self) -> Result<Option<Vec<u8>>, Malformed> {
        let pending = self.buffer.get(self.start..).unwrap_or_default();
        let Some((length, rest)) = pending.split_first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let bytes = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        if bytes > self.limit {
            return Err(Malformed::TooLong { bytes, limit: self.limit });
        }
        let frame = rest.get(..bytes).map(<[u8]>::to_vec);
        if frame.is_some() {
            self.start += LENGTH_BYTES + bytes;
        }
        Ok(frame)
    }
}

// === impl Input ===

impl<'a> Input<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.0.split_at_checked(count).ok_or(Malformed::Short)?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed::Short)?;
        self.0 = rest;
        Ok(*head)
    }

    fn count(&mut self) -> Result<usize, Malformed> {
        usize::try_from(u32::take(self)?).map_err(|_| Malformed::Short)
    }
}

// === impl Wire ===

macro_rules! wire_integers {
    ($($integer:ty),*) => {$(
        impl Wire for $integer {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            fn take(input: &mut Input<'_>) -> Result<Self, Malformed> {
                input.array().map(Self::from_le_bytes)
            }
        }
    )*};
}

wire_integers!(u8, u16, u32, u64);

impl Wire for bool {
    fn put(&self, out: &mut Vec<u8>) {
        u8::from(*self).put(out);
    }
    fn take(input: &mut Input<'_>) -> Result<Self, Malformed> {
        match u8::take(input)? {
            0 => Ok(false),
            1 => Ok(true),
            tag => Err(Malformed::Tag { what: "bool", tag }),
        }
    }
}

impl<const N: usize> Wire for [u8; N] {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }
    fn take(input: &mut Input<'_>) -> Result<Self, Malformed> {
        input.array()
    }
}

impl Wire for Chunk {
    fn put(&self, out: &mut Vec<u8>) {
        put_bytes(&self.0, out);
    }
    fn take(input: &mut Input<'_>) -> Result<Self, Malformed> {
        let count = input.count()?;
        input.bytes(count).map(|bytes| Self(bytes.to_vec()))
    }
}

impl Wire for String {
    fn put(&self, out: &mut Vec<u8>) {
        put_bytes(self.as_bytes(), out);
    }
    fn take(input: &mut Input<'_>) -> Result<Self, Malformed> {
        let count = input.count()?;
        let bytes = input.bytes(count)?;
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| Malformed::Text)
    }
}

impl<T: Wire> Wire for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }
    fn take(input: &mut Input<'_>) -> Result<Self, Malformed> {
        Ok(if bool::take(input)? { Some(T::take(input)?) } else { None })
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        put_count(self.len(), out);
        for item in self {
            item.put(out);
        }
    }
    fn take(input: &mut Input<'_>) -> Result<Self, Malformed> {
        // The count comes from the peer, so it reserves no memory, and the items themselves must be
        // in the frame. Every item has at least one byte, so the list cannot be longer than the
        // frame.
        let count = input.count()?;
        let mut items = Self::new();
        for _ in 0..count {
            items.push(T::take(input)?);
        }
        Ok(items)
    }
}

impl<A: Wire, B: Wire> Wire for (A, B) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }
    fn take(input: &mut Input<'_>) -> Result<Self, Malformed> {
        Ok((A::take(input)?, B::take(input)?))
    }
}

fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_count(bytes.len(), out);
    out.extend_from_slice(bytes);
}

/// A count over `u32::MAX` cannot be encoded: such a frame exceeds every limit, and is rejected as
/// too long after this.
fn put_count(count: usize, out: &mut Vec<u8>) {
    u32::try_from(count).unwrap_or(u32::MAX).put(out);
}

/// Encodes a struct field by field, in the given order.
macro_rules! wire_struct {
    ($name:ident { $($field:ident),* $(,)? }) => {
        impl $crate::wire::Wire for $name {
            fn put(&self, out: &mut Vec<u8>) {
                $($crate::wire::Wire::put(&self.$field, out);)*
            }
            fn take(
                input: &mut $crate::wire::Input<'_>,
            ) -> Result<Self, $crate::wire::Malformed> {
                Ok(Self { $($field: $crate::wire::Wire::take(input)?),* })
            }
        }
    };
}

/// Encodes an enum as a tag byte and, for the variants in the first list, their one field.
macro_rules! wire_enum {
    ($name:ident { $($variant:ident = $tag:literal),* $(,)? } $(units { $($unit:ident = $unit_tag:literal),* $(,)? })?) => {
        impl $crate::wire::Wire for $name {
            fn put(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$variant(value) => {
                        out.push($tag);
                        $crate::wire::Wire::put(value, out);
                    })*
                    $($(Self::$unit => out.push($unit_tag),)*)?
                }
            }
            fn take(
                input: &mut $crate::wire::Input<'_>,
            ) -> Result<Self, $crate::wire::Malformed> {
                match <u8 as $crate::wire::Wire>::take(input)? {
                    $($tag => Ok(Self::$variant($crate::wire::Wire::take(input)?)),)*
                    $($($unit_tag => Ok(Self::$unit),)*)?
                    tag => Err($crate::wire::Malformed::Tag {
                        what: stringify!($name),
                        tag,
                    }),
                }
            }
        }
    };
}

pub(super) use {wire_enum, wire_struct};
