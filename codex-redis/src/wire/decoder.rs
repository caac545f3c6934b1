//! Replies out of a stream of bytes, as they come in: RESP2 and RESP3,
//! <https://redis.io/docs/latest/develop/reference/protocol-spec/>.
//!
//! What RESP3 has types of its own for is read as the value that RESP2 has for it (a map as the list of its keys and values), so
//! that nobody else needs to know which of the two is spoken. What is pushed, and attributes, are nobody's reply and left out.
//!
//! Values are copied out of the read buffer, each into an allocation of its own size: a slice of the buffer would keep all of it for
//! as long as somebody keeps a small value. What is long is read into its allocation and not copied at all.

use redis::Value;

/// What is longer than this and not there yet is read straight into its own allocation.
pub(crate) const LONG: usize = 32 << 10;

/// No reply that is asked for is nested deeper.
const DEEPEST: usize = 64;

/// The longest line; only an error comes near.
const LONGEST_LINE: usize = 64 << 10;

/// The most places of an array that are kept before its items are there.
const PLACES: usize = 1024;

/// The bytes are no RESP. They are not kept: they may be anybody's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

type Parsed<T> = Result<Option<T>, Malformed>;

/// Goes on where the last bytes ended.
#[derive(Default)]
pub(crate) struct Parser {
    /// Arrays that are not complete, the outermost first.
    arrays: Vec<Array>,
    long: Option<Long>,
}

struct Array {
    items: Vec<Value>,
    missing: usize,
    /// A push or an attribute: no part of any reply.
    is_aside: bool,
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

impl Parser {
    /// The next complete reply, and `bytes` moved past what was taken. `None` where more bytes are needed.
    pub(crate) fn next(&mut self, bytes: &mut &[u8]) -> Parsed<Value> {
        while let Some(item) = self.item(bytes)? {
            let mut value = match item {
                Item::Value(value) => value,
                Item::Array(array) if array.missing == 0 && array.is_aside => continue,
                Item::Array(array) if array.missing == 0 => Value::Array(array.items),
                Item::Array(_) if self.arrays.len() >= DEEPEST => return Err(Malformed),
                Item::Array(array) => {
                    self.arrays.push(array);
                    continue;
                }
            };
            // It completes the array that it is the last of, which may complete another.
            loop {
                let Some(array) = self.arrays.last_mut() else {
                    return Ok(Some(value));
                };
                array.items.push(value);
                array.missing -= 1;
                if array.missing > 0 {
                    break;
                }
                let (items, is_aside) = (std::mem::take(&mut array.items), array.is_aside);
                self.arrays.pop();
                if is_aside {
                    break;
                }
                value = Value::Array(items);
            }
        }
        Ok(None)
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
        }
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
            b'+' => Item::Value(Value::SimpleString(string(text)?)),
            b':' => Item::Value(Value::Int(integer(text)?)),
            b'-' => Item::Value(error(line)?),
            b'*' | b'~' | b'%' | b'>' | b'|' => match length(text)? {
                None => Item::Value(Value::Nil),
                Some(entries) => {
                    // Of each entry of a map there are two.
                    let each = if matches!(kind, b'%' | b'|') { 2 } else { 1 };
                    let missing = entries.checked_mul(each).ok_or(Malformed)?;
                    Item::Array(Array {
                        items: Vec::with_capacity(missing.min(PLACES)),
                        missing,
                        is_aside: matches!(kind, b'>' | b'|'),
                    })
                }
            },
            b'_' if text.is_empty() => Item::Value(Value::Nil),
            b'#' if matches!(text, b"t" | b"f") => Item::Value(Value::Int(i64::from(text == b"t"))),
            b',' | b'(' => Item::Value(Value::BulkString(text.to_vec())),
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
            let value = Item::Value(kind.value(value.to_vec())?);
            // The line's slice and the body's are of the same bytes.
            *bytes = &bytes[bytes.len() - end.len()..];
            return Ok(Some(value));
        }
        if length <= LONG {
            return Ok(None);
        }
        let mut long = Vec::new();
        // Not touched before it is filled, so a length that is a lie takes no memory.
        long.try_reserve_exact(length).map_err(|_| Malformed)?;
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
    fn value(self, bytes: Vec<u8>) -> Result<Value, Malformed> {
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

fn end_of_line(bytes: &mut &[u8]) -> Result<(), Malformed> {
    *bytes = bytes.strip_prefix(b"\r\n").ok_or(Malformed)?;
    Ok(())
}

fn string(text: &[u8]) -> Result<String, Malformed> {
    String::from_utf8(text.to_vec()).map_err(|_| Malformed)
}

fn integer(text: &[u8]) -> Result<i64, Malformed> {
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
fn length(text: &[u8]) -> Parsed<usize> {
    match integer(text)? {
        -1 => Ok(None),
        length => usize::try_from(length).map(Some).map_err(|_| Malformed),
    }
}

/// Only the redis crate makes its errors, so it is given the line.
fn error(line: &[u8]) -> Result<Value, Malformed> {
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
    fn parse(stream: &[u8], piece: usize) -> Result<Vec<Value>, Malformed> {
        let (mut parser, mut values, mut buffer) = (Parser::default(), Vec::new(), Vec::new());
        for piece in stream.chunks(piece) {
            let mut piece = piece;
            if buffer.is_empty()
                && let Some((long, missing)) = parser.long()
            {
                let there = missing.min(piece.len());
                long.extend_from_slice(&piece[..there]);
                parser.added(there);
                piece = &piece[there..];
            }
            buffer.extend_from_slice(piece);
            let mut bytes = &buffer[..];
            while let Some(value) = parser.next(&mut bytes)? {
                values.push(value);
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
            "$9223372036854775807\r\nx",
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
}
