use super::{line::LONGEST_LINE, *};

/// Decodes a stream that arrives in pieces of this size, as the driver feeds it.
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
fn a_status_that_is_no_utf_8_is_a_value() {
    let stream = b"+\xff\xfe\r\n:1\r\n";
    let expected = vec![Value::BulkString(vec![0xff, 0xfe]), Value::Int(1)];
    assert_eq!(parse(stream, stream.len()), Ok(expected));
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
        ">-1\r\n",
        "|-1\r\n",
        "*1\r\n|-1\r\n",
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
    let stream =
        b">2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n:1\r\n*2\r\n:2\r\n>1\r\n+aside\r\n:3\r\n>0\r\n|1\r\n+a\r\n:9\r\n:4\r\n";
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
        // Each item fits alone. All items with their arrays do not.
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
