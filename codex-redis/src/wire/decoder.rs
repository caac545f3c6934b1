//! Replies out of a stream of bytes, as they come in: RESP2 and RESP3,
//! <https://redis.io/docs/latest/develop/reference/protocol-spec/>.
//!
//! A type that only RESP3 has is read as the value that RESP2 has for it (a map as the list of its
//! keys and values), so that no other module needs to know which version is spoken. Pushes are
//! frames of their own. Attributes are left out.
//!
//! Values are copied out of the read buffer, each into an allocation of its own size: a slice of
//! the buffer would keep all of it for as long as anyone keeps a small value. A long value is read
//! into its allocation and not copied at all.

use redis::Value;

/// A longer value that has not arrived whole is read straight into its own allocation.
pub(crate) const LONG: usize = 32 << 10;

/// The deepest nesting that is read; no command of this crate nests deeper than 3.
const DEEPEST: usize = 64;

/// The longest line; only an error comes near.
const LONGEST_LINE: usize = 64 << 10;

/// The most places of an array that are allocated before its items have arrived.
const PLACES: usize = 256;

/// The memory of an item in its array.
const ITEM: usize = size_of::<Value>();

/// About what the allocator adds to each allocation.
const ALLOCATION: usize = 32;

/// Why a stream cannot be read on.
///
/// The bytes are not kept: they may be anyone's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DecodeError {
    /// The bytes are not RESP.
    Malformed,
    /// The reply takes more memory than is allowed.
    TooLarge,
}

use DecodeError::{Malformed, TooLarge};

type Parsed<T> = Result<Option<T>, DecodeError>;

/// What the stream holds next.
#[derive(Debug, PartialEq)]
pub(crate) enum Frame {
    /// The reply to the oldest request, and the memory that it takes.
    Reply(Value, usize),
    /// Out of band: it answers no request.
    Push(Vec<Value>),
}

/// Goes on where the last bytes ended.
pub(crate) struct Decoder {
    /// Arrays that are not complete, the outermost first.
    arrays: Vec<Array>,
    long: Option<Long>,
    /// How many of the arrays are pushes or attributes.
    asides: usize,
    /// The memory of what is not complete.
    memory: usize,
    /// The most memory that is left for it.
    limit: usize,
    /// How many bytes of replies have been taken in.
    reply_bytes: u64,
}

struct Array {
    items: Vec<Value>,
    missing: usize,
    kind: Kind,
    /// The memory of the frame around an aside, to go on from once the aside is complete.
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

/// What a string with its length before it is.
#[derive(Clone, Copy)]
enum Bulk {
    Plain,
    /// With its format and a colon before the text.
    Verbatim,
    Error,
}

/// What a line announces.
enum Item {
    Value(Value),
    Array(Array),
}

impl Decoder {
    /// A decoder of replies that may take this much memory at a time.
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

    /// The next complete frame, and `bytes` moved past what was taken; `None` if more bytes are
    /// needed. A reply that is not complete may take `limit` bytes of memory.
    pub(crate) fn next(&mut self, bytes: &mut &[u8], limit: usize) -> Parsed<Frame> {
        self.limit = limit;
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
            // It completes the array that it is the last of, which may complete another.
            loop {
                let Some(array) = self.arrays.last_mut() else {
                    return Ok(Some(Frame::Reply(value, std::mem::take(&mut self.memory))));
                };
                if array.items.len() == array.items.capacity() {
                    // Grown by hand, so that what it takes is counted before it is taken.
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

    /// Where the next bytes of the stream belong, past all buffers, and how many of them.
    pub(crate) fn long(&mut self) -> Option<(&mut Vec<u8>, usize)> {
        let long = self.long.as_mut().filter(|long| long.missing > 0)?;
        Some((&mut long.bytes, long.missing))
    }

    /// Says that so many bytes have been added to [`long`](Self::long).
    pub(crate) fn added(&mut self, bytes: usize) {
        if let Some(long) = &mut self.long {
            long.missing -= bytes;
            if self.asides == 0 {
                self.reply_bytes += bytes as u64;
            }
        }
    }

    /// How many bytes of a long value are still to come.
    pub(crate) fn missing(&self) -> usize {
        self.long.as_ref().map_or(0, |long| long.missing)
    }

    /// How many bytes of replies have been taken in so far, of the one that is not complete too.
    /// Pushes are none.
    pub(crate) fn reply_bytes(&self) -> u64 {
        self.reply_bytes
    }

    /// The memory of the reply that is not complete.
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
                Item::Value(Value::SimpleString(string(text)?))
            }
            b':' => Item::Value(Value::Int(integer(text)?)),
            b'-' => {
                self.charge(line.len() + ALLOCATION)?;
                Item::Value(error(line)?)
            }
            b'*' | b'~' | b'%' | b'>' | b'|' => match length(text)? {
                None => Item::Value(Value::Nil),
                Some(entries) => {
                    // Of each entry of a map there are two.
                    let each = if matches!(kind, b'%' | b'|') { 2 } else { 1 };
                    let missing = entries.checked_mul(each).ok_or(Malformed)?;
                    // A count that cannot fit is refused before any item has come.
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
            // The line's slice and the body's are of the same bytes.
            *bytes = &bytes[bytes.len() - end.len()..];
            return Ok(Some(value));
        }
        if length <= LONG {
            return Ok(None);
        }
        self.charge(length.saturating_add(ALLOCATION))?;
        let mut long = Vec::new();
        // Not touched before it is filled, so a length that is a lie takes no memory.
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

/// The memory after so many more bytes.
fn charged(memory: usize, bytes: usize, limit: usize) -> Result<usize, DecodeError> {
    let sum = memory.saturating_add(bytes);
    if sum > limit { Err(TooLarge) } else { Ok(sum) }
}

/// The first line, without its end, and what is behind it.
fn line(bytes: &[u8]) -> Parsed<(&[u8], &[u8])> {
    match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) => {
            let line = bytes[..end].strip_suffix(b"\r").ok_or(Malformed)?;
            Ok(Some((line, &bytes[end + 1..])))
        }
        None if bytes.len() > LONGEST_LINE => Err(Malformed),
        None => Ok(None),
    }
}

fn end_of_line(bytes: &mut &[u8]) -> Result<(), DecodeError> {
    *bytes = bytes.strip_prefix(b"\r\n").ok_or(Malformed)?;
    Ok(())
}

fn string(text: &[u8]) -> Result<String, DecodeError> {
    String::from_utf8(text.to_vec()).map_err(|_| Malformed)
}

fn integer(text: &[u8]) -> Result<i64, DecodeError> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    if digits.is_empty() {
        return Err(Malformed);
    }
    // As a negative number: there is one more of those.
    let mut number = 0_i64;
    for digit in digits {
        let value = digit.wrapping_sub(b'0');
        if value > 9 {
            return Err(Malformed);
        }
        number = number
            .checked_mul(10)
            .and_then(|number| number.checked_sub(i64::from(value)))
            .ok_or(Malformed)?;
    }
    if digits.len() == text.len() {
        number.checked_neg().ok_or(Malformed)
    } else {
        Ok(number)
    }
}

/// `None` for -1, which stands for nothing at all.
/// Whether this is the text of a double (`,`) or of a big number (`(`).
fn is_number(kind: u8, text: &[u8]) -> bool {
    if kind == b',' {
        std::str::from_utf8(text).is_ok_and(|text| text.parse::<f64>().is_ok())
    } else {
        let digits = text.strip_prefix(b"-").or(text.strip_prefix(b"+")).unwrap_or(text);
        !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
    }
}

fn length(text: &[u8]) -> Parsed<usize> {
    match integer(text)? {
        -1 => Ok(None),
        length => usize::try_from(length).map(Some).map_err(|_| Malformed),
    }
}

/// Only the redis crate makes its errors, so it is given the line.
fn error(line: &[u8]) -> Result<Value, DecodeError> {
    let mut line = String::from_utf8_lossy(line).into_owned();
    line.push_str("\r\n");
    match redis::parse_redis_value(line.as_bytes()) {
        Ok(error @ Value::ServerError(_)) => Ok(error),
        _ => Err(Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of a stream that arrives in pieces of this size, as the driver feeds it.
    fn parse(stream: &[u8], piece: usize) -> Result<Vec<Value>, DecodeError> {
        let (mut decoder, mut values, mut buffer) = (Decoder::new(usize::MAX), Vec::new(), Vec::new());
        for piece in stream.chunks(piece) {
            let mut piece = piece;
            if buffer.is_empty()
                && let Some((long, missing)) = decoder.long()
            {
                let there = missing.min(piece.len());
                long.extend_from_slice(&piece[..there]);
                decoder.added(there);
                piece = &piece[there..];
            }
            buffer.extend_from_slice(piece);
            let mut bytes = &buffer[..];
            while let Some(frame) = decoder.next(&mut bytes, 8 << 20)? {
                if let Frame::Reply(value, _) = frame {
                    values.push(value);
                }
            }
            buffer = bytes.to_vec();
        }
        Ok(values)
    }

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn replies_are_the_same_in_whatever_pieces_they_come() {
        let long = "x".repeat(LONG + 5);
        let stream = format!(
            "+OK\r\n+PONG\r\n:-9223372036854775808\r\n:9223372036854775807\r\n$-1\r\n$0\r\n\r\n$3\r\na\r\n\r\n*-1\r\n*0\r\n\
             *2\r\n*2\r\n:1\r\n*0\r\n$1\r\nb\r\n${}\r\n{long}\r\n*2\r\n${}\r\n{long}\r\n:2\r\n-MOVED 1 a:2\r\n-ERR\r\n",
            long.len(),
            long.len()
        );
        let [moved, plain] =
            ["-MOVED 1 a:2\r\n", "-ERR\r\n"].map(|line| redis::parse_redis_value(line.as_bytes()).unwrap());
        let expected = vec![
            Value::Okay,
            Value::SimpleString("PONG".to_owned()),
            Value::Int(i64::MIN),
            Value::Int(i64::MAX),
            Value::Nil,
            bulk(""),
            bulk("a\r\n"),
            Value::Nil,
            Value::Array(Vec::new()),
            Value::Array(vec![
                Value::Array(vec![Value::Int(1), Value::Array(Vec::new())]),
                bulk("b"),
            ]),
            bulk(&long),
            Value::Array(vec![bulk(&long), Value::Int(2)]),
            moved,
            plain,
        ];
        for piece in (1..40).chain([LONG, LONG + 10, stream.len()]) {
            assert_eq!(parse(stream.as_bytes(), piece).as_ref(), Ok(&expected), "{piece}");
        }
    }

    #[test]
    fn resp3_is_read_as_what_resp2_has_for_it() {
        let long = "x".repeat(LONG + 5);
        let stream = format!(
            "_\r\n#t\r\n#f\r\n,1.5\r\n(12345678901234567890\r\n=7\r\ntxt:abc\r\n!7\r\nERR two\r\n%2\r\n+a\r\n:1\r\n+b\r\n~1\r\n:2\r\n\
             >2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n|1\r\n+ttl\r\n:3\r\n:4\r\n*2\r\n|1\r\n+ttl\r\n%0\r\n:5\r\n:6\r\n>0\r\n%0\r\n={}\r\ntxt:{long}\r\n",
            long.len() + 4
        );
        let text = |text: &str| Value::SimpleString(text.to_owned());
        let expected = vec![
            Value::Nil,
            Value::Int(1),
            Value::Int(0),
            bulk("1.5"),
            bulk("12345678901234567890"),
            bulk("abc"),
            redis::parse_redis_value(b"-ERR two\r\n").unwrap(),
            Value::Array(vec![
                text("a"),
                Value::Int(1),
                text("b"),
                Value::Array(vec![Value::Int(2)]),
            ]),
            Value::Int(4),
            Value::Array(vec![Value::Int(5), Value::Int(6)]),
            Value::Array(Vec::new()),
            bulk(&long),
        ];
        for piece in (1..40).chain([LONG, LONG + 10, stream.len()]) {
            assert_eq!(parse(stream.as_bytes(), piece).as_ref(), Ok(&expected), "{piece}");
        }
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        let endless = "+".repeat(LONGEST_LINE + 2);
        let deep = "*1\r\n".repeat(DEEPEST + 1);
        for stream in [
            "hello\r\n",
            "?1\r\n",
            "\r\n",
            ":\r\n",
            ":1x\r\n",
            ":9223372036854775808\r\n",
            "$-2\r\n",
            "$1\r\nabc\r\n",
            "+a\n",
            "#x\r\n",
            "_1\r\n",
            "=3\r\ntxt\r\n",
            "=4\r\nabcd\r\n",
            &endless,
            &deep,
        ] {
            for piece in [stream.len().div_ceil(30), stream.len()] {
                assert_eq!(parse(stream.as_bytes(), piece), Err(Malformed), "{stream:.20}");
            }
        }
    }

    #[test]
    fn pushes_come_in_their_place_and_count_for_no_reply() {
        let stream = b">2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n:1\r\n*2\r\n:2\r\n>1\r\n+aside\r\n:3\r\n>0\r\n|1\r\n+a\r\n:9\r\n:4\r\n";
        let text = |text: &str| Value::SimpleString(text.to_owned());
        let mut decoder = Decoder::new(usize::MAX);
        let (mut bytes, mut frames) = (&stream[..], Vec::new());
        while let Some(frame) = decoder.next(&mut bytes, 1 << 20).unwrap() {
            frames.push(match frame {
                Frame::Reply(value, _) => value,
                Frame::Push(items) => Value::Set(items),
            });
        }
        let expected = vec![
            Value::Set(vec![text("invalidate"), Value::Array(vec![bulk("k")])]),
            Value::Int(1),
            Value::Set(vec![text("aside")]),
            Value::Array(vec![Value::Int(2), Value::Int(3)]),
            Value::Set(Vec::new()),
            Value::Int(4),
        ];
        assert_eq!(frames, expected);
        let in_replies = b":1\r\n*2\r\n:2\r\n:3\r\n:4\r\n".len();
        assert_eq!((decoder.reply_bytes(), decoder.memory()), (in_replies as u64, 0));
    }

    #[test]
    fn memory_is_refused_before_it_is_taken() {
        let limit = 1 << 20;
        let small = ":1\r\n".repeat(limit / ITEM + 1);
        let half = ":1\r\n".repeat(limit / ITEM / 2 + 1);
        let tiny = "$1\r\nx\r\n".repeat(limit / (ITEM + ALLOCATION));
        for (stream, taken) in [
            ("*1000000000\r\n:1\r\n".to_owned(), 13),
            ("%1000000000\r\n:1\r\n".to_owned(), 13),
            ("$20000000000\r\nabc".to_owned(), 14),
            (format!("*{}\r\n{small}", limit / ITEM + 1), 8),
            // Each fits by itself, and all of them in their arrays do not.
            (
                format!("*2\r\n*{0}\r\n{half}*{0}\r\n{half}", limit / ITEM / 2 + 1),
                1 << 20,
            ),
            (format!("*{}\r\n{tiny}", limit / (ITEM + ALLOCATION)), 1 << 20),
            (
                format!("*9\r\n${0}\r\n{1}\r\n${0}\r\n", limit / 2, "x".repeat(limit / 2)),
                1 << 20,
            ),
        ] {
            let mut decoder = Decoder::new(limit);
            let mut bytes = stream.as_bytes();
            let mut result = decoder.next(&mut bytes, limit);
            while matches!(result, Ok(None)) && !bytes.is_empty() {
                result = decoder.next(&mut bytes, limit);
            }
            assert_eq!(result, Err(TooLarge), "{stream:.20}");
            assert!(
                decoder.memory() <= limit && stream.len() - bytes.len() <= taken,
                "{stream:.20}"
            );
        }
        let mut decoder = Decoder::new(limit);
        let stream = ">0\r\n>1\r\n+x\r\n|1\r\n+a\r\n+b\r\n".repeat(limit / 100);
        let mut bytes = stream.as_bytes();
        while decoder.next(&mut bytes, limit).unwrap().is_some() {}
        assert_eq!((bytes, decoder.memory()), (&b""[..], 0));
    }
}
