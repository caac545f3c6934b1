//! A streaming decoder of RESP2 and RESP3 replies:
//! <https://redis.io/docs/latest/develop/reference/protocol-spec/>.
//!
//! A type that exists only in RESP3 is decoded as its value in RESP2 (a map as the list of its keys
//! and values), so that no other module needs to know the version of the protocol. Pushes are
//! separate frames. Attributes are left out.
//!
//! Each value is copied out of the read buffer into its own allocation. A slice of the buffer would
//! keep the whole buffer alive for as long as a caller keeps a small value. A long value is read
//! into its allocation and not copied at all.

mod line;
#[cfg(test)]
mod tests;

use redis::Value;

use self::line::{end_of_line, error, integer, is_number, length, line, string};

/// A longer value, in bytes, that has not arrived completely is read directly into its own
/// allocation.
pub(crate) const LONG: usize = 32 << 10;

/// The deepest nesting that is decoded. No command of this crate nests deeper than 3.
const DEEPEST: usize = 64;

/// The maximum number of items of an array for which memory is allocated before they arrive.
const PLACES: usize = 256;

/// The maximum number of digits in the length of a bulk string that is read in one step.
const LONGEST_SIMPLE: usize = 6;

/// The maximum number of digits of an integer that is read in one step. They fit an `i64`.
const LONGEST_SIMPLE_NUMBER: usize = 18;

/// The memory of an item in its array.
const ITEM: usize = size_of::<Value>();

/// The approximate overhead of an allocation, in bytes.
const ALLOCATION: usize = 32;

/// The reason why a stream cannot be decoded further.
///
/// The bytes are not kept, because they may be a user's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DecodeError {
    /// The bytes are not RESP.
    Malformed,
    /// The reply takes more memory than is allowed.
    TooLarge,
}

use DecodeError::{Malformed, TooLarge};

type Parsed<T> = Result<Option<T>, DecodeError>;

/// The next frame of the stream.
#[derive(Debug, PartialEq)]
pub(crate) enum Frame {
    /// The reply to the oldest request, and the memory that it takes.
    Reply(Value, usize),
    /// Out of band: it answers no request.
    Push(Vec<Value>),
}

/// A decoder that continues where the last bytes ended.
pub(crate) struct Decoder {
    /// The incomplete arrays, the outermost first.
    arrays: Vec<Array>,
    long: Option<Long>,
    /// The number of incomplete arrays that are pushes or attributes.
    asides: usize,
    /// The memory of the incomplete frame.
    memory: usize,
    /// The limit of `memory`.
    limit: usize,
    /// The bytes of replies that were decoded.
    reply_bytes: u64,
}

struct Array {
    items: Vec<Value>,
    missing: usize,
    kind: Kind,
    /// The memory of the frame around an aside, restored once the aside is complete.
    before: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Reply,
    Push,
    Attribute,
}

/// A bulk string that is read into place.
struct Long {
    kind: Bulk,
    bytes: Vec<u8>,
    missing: usize,
}

/// The kind of a string that has its length before it.
#[derive(Clone, Copy)]
enum Bulk {
    Plain,
    /// A string with its format and a colon before the text.
    Verbatim,
    Error,
}

/// The item that a line announces.
enum Item {
    Value(Value),
    Array(Array),
}

impl Decoder {
    /// Creates a decoder. An incomplete reply may take `limit` bytes of memory.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            arrays: Vec::new(),
            long: None,
            asides: 0,
            memory: 0,
            limit,
            reply_bytes: 0,
        }
    }

    /// Returns the next complete frame, or `None` if more bytes are needed. Advances `bytes` past
    /// the decoded input. An incomplete reply may take `limit` bytes of memory.
    pub(crate) fn next(&mut self, bytes: &mut &[u8], limit: usize) -> Parsed<Frame> {
        self.limit = limit;
        if self.arrays.is_empty()
            && self.long.is_none()
            && let Some((value, memory, rest)) = simple(bytes, limit)
        {
            self.reply_bytes += (bytes.len() - rest.len()) as u64;
            *bytes = rest;
            return Ok(Some(Frame::Reply(value, memory)));
        }
        loop {
            let before = bytes.len();
            let item = self.item(bytes)?;
            let is_aside = matches!(&item, Some(Item::Array(array)) if array.kind != Kind::Reply);
            if self.asides == 0 && !is_aside {
                self.reply_bytes += (before - bytes.len()) as u64;
            }
            let Some(item) = item else { return Ok(None) };
            let mut value = match item {
                Item::Value(value) => value,
                Item::Array(array) => {
                    if self.arrays.len() >= DEEPEST {
                        return Err(Malformed);
                    }
                    if array.missing > 0 {
                        self.asides += usize::from(array.kind != Kind::Reply);
                        self.arrays.push(array);
                        continue;
                    }
                    match array.kind {
                        Kind::Reply => Value::Array(array.items),
                        Kind::Push => {
                            self.memory = array.before;
                            return Ok(Some(Frame::Push(array.items)));
                        }
                        Kind::Attribute => {
                            self.memory = array.before;
                            continue;
                        }
                    }
                }
            };
            // The last item of an array completes it, which may complete the array around it.
            loop {
                let Some(array) = self.arrays.last_mut() else {
                    return Ok(Some(Frame::Reply(value, std::mem::take(&mut self.memory))));
                };
                if array.items.len() == array.items.capacity() {
                    // Grown explicitly, so that memory is counted before it is allocated.
                    let more = array.items.len().clamp(1, array.missing);
                    self.memory = charged(self.memory, more.saturating_mul(ITEM), self.limit)?;
                    array.items.reserve_exact(more);
                }
                array.items.push(value);
                array.missing -= 1;
                if array.missing > 0 {
                    break;
                }
                let Some(array) = self.arrays.pop() else { break };
                match array.kind {
                    Kind::Reply => value = Value::Array(array.items),
                    Kind::Push | Kind::Attribute => {
                        self.asides -= 1;
                        self.memory = array.before;
                        if array.kind == Kind::Push {
                            return Ok(Some(Frame::Push(array.items)));
                        }
                        break;
                    }
                }
            }
        }
    }

    /// Returns the buffer for the next bytes of the stream, and the number of bytes that belong
    /// there.
    pub(crate) fn long(&mut self) -> Option<(&mut Vec<u8>, usize)> {
        let long = self.long.as_mut().filter(|long| long.missing > 0)?;
        Some((&mut long.bytes, long.missing))
    }

    /// Records that this many bytes have been added to [`long`](Self::long).
    pub(crate) fn added(&mut self, bytes: usize) {
        if let Some(long) = &mut self.long {
            long.missing -= bytes;
            if self.asides == 0 {
                self.reply_bytes += bytes as u64;
            }
        }
    }

    /// Returns the number of bytes of a long value that are still to come.
    pub(crate) fn missing(&self) -> usize {
        self.long.as_ref().map_or(0, |long| long.missing)
    }

    /// Returns the number of bytes of replies that were decoded so far, including an incomplete
    /// reply. Pushes do not count.
    pub(crate) fn reply_bytes(&self) -> u64 {
        self.reply_bytes
    }

    /// Returns the memory of the incomplete reply.
    #[cfg(test)]
    fn memory(&self) -> usize {
        self.memory
    }

    fn charge(&mut self, bytes: usize) -> Result<(), DecodeError> {
        self.memory = charged(self.memory, bytes, self.limit)?;
        Ok(())
    }

    fn item(&mut self, bytes: &mut &[u8]) -> Parsed<Item> {
        if self.long.is_some() {
            return self.go_on(bytes);
        }
        let Some((line, rest)) = line(bytes)? else {
            return Ok(None);
        };
        let (kind, text) = line.split_first().ok_or(Malformed)?;
        let item = match kind {
            b'$' | b'=' | b'!' => match length(text)? {
                None => Item::Value(Value::Nil),
                Some(length) => {
                    let kind = match kind {
                        b'=' => Bulk::Verbatim,
                        b'!' => Bulk::Error,
                        _ => Bulk::Plain,
                    };
                    return self.bulk(kind, length, rest, bytes);
                }
            },
            b'+' if text == b"OK" => Item::Value(Value::Okay),
            b'+' => {
                self.charge(text.len() + ALLOCATION)?;
                Item::Value(string(text))
            }
            b':' => Item::Value(Value::Int(integer(text)?)),
            b'-' => {
                self.charge(line.len() + ALLOCATION)?;
                Item::Value(error(line)?)
            }
            b'*' | b'~' | b'%' | b'>' | b'|' => match length(text)? {
                // A push or an attribute is no reply, so it cannot stand for one.
                None if matches!(kind, b'>' | b'|') => return Err(Malformed),
                None => Item::Value(Value::Nil),
                Some(entries) => {
                    // Each entry of a map is two items.
                    let each = if matches!(kind, b'%' | b'|') { 2 } else { 1 };
                    let missing = entries.checked_mul(each).ok_or(Malformed)?;
                    // A count that cannot fit is refused before any item has arrived.
                    charged(self.memory, missing.saturating_mul(ITEM), self.limit)?;
                    let before = self.memory;
                    let places = missing.min(PLACES);
                    self.charge(places * ITEM + ALLOCATION)?;
                    Item::Array(Array {
                        items: Vec::with_capacity(places),
                        missing,
                        kind: match kind {
                            b'>' => Kind::Push,
                            b'|' => Kind::Attribute,
                            _ => Kind::Reply,
                        },
                        before,
                    })
                }
            },
            b'_' if text.is_empty() => Item::Value(Value::Nil),
            b'#' if matches!(text, b"t" | b"f") => Item::Value(Value::Int(i64::from(text == b"t"))),
            b',' | b'(' if is_number(*kind, text) => {
                self.charge(text.len() + ALLOCATION)?;
                Item::Value(Value::BulkString(text.to_vec()))
            }
            _ => return Err(Malformed),
        };
        *bytes = rest;
        Ok(Some(item))
    }

    fn bulk(&mut self, kind: Bulk, length: usize, body: &[u8], bytes: &mut &[u8]) -> Parsed<Item> {
        if let Some((value, mut end)) = body.split_at_checked(length) {
            if end.len() < 2 {
                return Ok(None);
            }
            end_of_line(&mut end)?;
            self.charge(length + ALLOCATION)?;
            let value = Item::Value(kind.value(value.to_vec())?);
            // The line and the body are slices of the same bytes.
            *bytes = &bytes[bytes.len() - end.len()..];
            return Ok(Some(value));
        }
        if length <= LONG {
            return Ok(None);
        }
        self.charge(length.saturating_add(ALLOCATION))?;
        let mut long = Vec::new();
        // Memory is not touched before it is filled, so a false length takes none.
        long.try_reserve_exact(length).map_err(|_| TooLarge)?;
        long.extend_from_slice(body);
        *bytes = &[];
        self.long = Some(Long {
            kind,
            missing: length - body.len(),
            bytes: long,
        });
        Ok(None)
    }

    fn go_on(&mut self, bytes: &mut &[u8]) -> Parsed<Item> {
        let Some(long) = &mut self.long else { return Ok(None) };
        let (more, rest) = bytes.split_at(long.missing.min(bytes.len()));
        long.bytes.extend_from_slice(more);
        long.missing -= more.len();
        *bytes = rest;
        if long.missing > 0 || bytes.len() < 2 {
            return Ok(None);
        }
        end_of_line(bytes)?;
        let value = self.long.take().map(|long| long.kind.value(long.bytes)).transpose()?;
        Ok(value.map(Item::Value))
    }
}

impl Bulk {
    fn value(self, bytes: Vec<u8>) -> Result<Value, DecodeError> {
        match self {
            Self::Plain => Ok(Value::BulkString(bytes)),
            Self::Verbatim => {
                let text = bytes.get(4..).filter(|_| bytes[3] == b':').ok_or(Malformed)?;
                Ok(Value::BulkString(text.to_vec()))
            }
            Self::Error => error(&[b"-", &bytes[..]].concat()),
        }
    }
}

/// Decodes a complete bulk string, an integer, or `OK`. Most replies are of these kinds. Returns
/// the reply, its memory and the bytes after it. The general decoder handles everything else.
fn simple(bytes: &[u8], limit: usize) -> Option<(Value, usize, &[u8])> {
    let (kind, text) = bytes.split_first()?;
    if *kind == b'+' {
        return Some((Value::Okay, 0, text.strip_prefix(b"OK\r\n")?));
    }
    if *kind == b':' {
        let digits = text.strip_prefix(b"-").unwrap_or(text);
        let (number, rest) = simple_number(digits, LONGEST_SIMPLE_NUMBER)?;
        let sign = if digits.len() == text.len() { 1 } else { -1 };
        return Some((Value::Int(sign * number.cast_signed()), 0, rest));
    }
    if *kind != b'$' {
        return None;
    }
    let (length, body) = simple_number(text, LONGEST_SIMPLE)?;
    let (value, end) = body.split_at_checked(usize::try_from(length).ok()?)?;
    let rest = end.strip_prefix(b"\r\n")?;
    let memory = Some(value.len() + ALLOCATION).filter(|memory| *memory <= limit)?;
    Some((Value::BulkString(value.to_vec()), memory, rest))
}

/// Reads a line of at most `longest` digits. Returns their number and the bytes after the line.
fn simple_number(text: &[u8], longest: usize) -> Option<(u64, &[u8])> {
    let digits = text
        .iter()
        .take(longest)
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let number = text[..digits]
        .iter()
        .fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    let rest = text[digits..].strip_prefix(b"\r\n").filter(|_| digits > 0)?;
    Some((number, rest))
}

/// Adds the bytes to the memory, and fails if the sum is over the limit.
fn charged(memory: usize, bytes: usize, limit: usize) -> Result<usize, DecodeError> {
    let sum = memory.saturating_add(bytes);
    if sum > limit { Err(TooLarge) } else { Ok(sum) }
}
