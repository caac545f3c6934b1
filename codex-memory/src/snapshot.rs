//! A store written down and read back.
//!
//! # The format, version 1
//!
//! All numbers are little-endian.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `CODEXMEM` |
//! | 4 | the version: 1 |
//! | | then for each entry: |
//! | 1 | 1: for ever; 2: with an end |
//! | 8 | where there is an end: milliseconds since 1970, signed |
//! | 8 + 8 | the length of the key and that of the value |
//! | | the key, UTF-8; the value |
//! | | and then: |
//! | 1 | 0: no more entries |
//! | 8 | how many they were |
//! | 4 | CRC-32 (IEEE 802.3) of all that came before |

use std::{
    io::{self, BufReader, BufWriter, Read, Write},
    time::Duration,
};

use bytes::Bytes;

use crate::{
    MemoryBackend,
    clock::Reading,
    deadline::Deadline,
    key,
    limits::{Limits, charge},
    position::Position,
    shard::key_text,
    store::{Plan, Store},
    value::Value,
};

const MAGIC: [u8; 8] = *b"CODEXMEM";
const VERSION: u32 = 1;

const DONE: u8 = 0;
const PERSISTENT: u8 = 1;
const MORTAL: u8 = 2;

impl MemoryBackend {
    /// Writes every live entry down, and says how many they were. [`load`](Self::load) reads them
    /// back, in this process or the next.
    ///
    /// Calls are served meanwhile: an entry that is there all along is written once, as it was at
    /// one moment of the dump; one that comes or goes meanwhile may be in it or not. Ends are
    /// written as wall time. The format is versioned and ends with a checksum. Values are written
    /// as they are, so whoever can read the file can read the sessions in it.
    ///
    /// # Errors
    ///
    /// What `writer` fails with. What was written until then is no snapshot, and `load` refuses it:
    /// write to a new file and rename it.
    pub fn dump(&self, writer: impl Write) -> io::Result<u64> {
        self.store.dump(writer)
    }

    /// Adds what [`dump`](Self::dump) wrote to this store, and says how many entries that were. One
    /// that is there under the same key is replaced; what has expired since, by the wall clock, is
    /// left out; the rest keep the time they had left.
    ///
    /// The whole is read and checked before anything is changed.
    ///
    /// # Errors
    ///
    /// What `reader` fails with; [`io::ErrorKind::UnexpectedEof`] where the snapshot is cut short,
    /// and [`io::ErrorKind::InvalidData`] where it is damaged, of another version, or no snapshot
    /// at all. [`io::ErrorKind::StorageFull`] where a store that refuses when full lacks room for
    /// as many entries beside those that it has. Nothing is changed then.
    pub fn load(&self, reader: impl Read) -> io::Result<u64> {
        let count = self.store.load(reader)?;
        crate::reclaim::watch(&self.store);
        Ok(count)
    }
}

/// An end of this store's clock as wall time, and back.
struct WallClock {
    now: Duration,
    unix_millis: i64,
}

impl WallClock {
    fn of(store: &Store) -> Self {
        Self {
            now: store.time.reading().now(),
            unix_millis: store.time.unix_millis(),
        }
    }

    /// Rounded up to the millisecond, so that nothing ends early.
    fn end(&self, end: Duration) -> i64 {
        let left = end.saturating_sub(self.now).as_nanos().div_ceil(1_000_000);
        self.unix_millis.saturating_add(i64::try_from(left).unwrap_or(i64::MAX))
    }

    /// `None` where it is over.
    fn deadline(&self, end: i64) -> Option<Deadline> {
        let left = u64::try_from(end.saturating_sub(self.unix_millis))
            .ok()
            .filter(|&left| left > 0)?;
        Some(Deadline::after(self.now, Duration::from_millis(left)))
    }
}

impl Store {
    fn dump(&self, writer: impl Write) -> io::Result<u64> {
        let mut writer = Summing::new(BufWriter::new(writer));
        writer.write_all(&MAGIC)?;
        writer.write_all(&VERSION.to_le_bytes())?;
        let mut count: u64 = 0;
        let mut position = Position::default();
        while position.shard < self.shards.len() {
            let (entries, next) = self.page(position);
            for (key, value, end) in &entries {
                write_entry(&mut writer, key, value, *end)?;
                count += 1;
            }
            position = next;
        }
        writer.write_all(&[DONE])?;
        writer.write_all(&count.to_le_bytes())?;
        let sum = writer.sum();
        writer.write_all(&sum.to_le_bytes())?;
        writer.flush()?;
        Ok(count)
    }

    /// The live entries of a block, and where to go on.
    fn page(&self, position: Position) -> (Vec<(String, Bytes, Option<i64>)>, Position) {
        let wall = WallClock::of(self);
        let shard = self.read(position.shard);
        let page = shard.page(position.hash);
        let copied = page.live(Reading::Taken(wall.now)).map(|entry| {
            let end = entry.deadline.since_origin().map(|end| wall.end(end));
            (key_text(entry.key()), entry.value().clone(), end)
        });
        (copied.collect(), position.after(page.next))
    }

    fn load(&self, reader: impl Read) -> io::Result<u64> {
        let wall = WallClock::of(self);
        let mut reader = Summing::new(BufReader::new(reader));
        if read_array(&mut reader)? != MAGIC {
            return Err(invalid("this is no snapshot of a memory store"));
        }
        let version = u32::from_le_bytes(read_array(&mut reader)?);
        if version != VERSION {
            return Err(invalid(
                "a snapshot of a version that this library cannot read: expected version 1",
            ));
        }
        let mut records = Vec::new();
        let mut count: u64 = 0;
        loop {
            let end = match read_array(&mut reader)? {
                [DONE] => break,
                [PERSISTENT] => Some(Deadline::NEVER),
                [MORTAL] => wall.deadline(i64::from_le_bytes(read_array(&mut reader)?)),
                [_] => return Err(damaged()),
            };
            let key_len = u64::from_le_bytes(read_array(&mut reader)?);
            let value_len = u64::from_le_bytes(read_array(&mut reader)?);
            let key = String::from_utf8(read_vec(&mut reader, key_len)?).map_err(|_| damaged())?;
            let value = read_vec(&mut reader, value_len)?;
            count += 1;
            records.extend(end.map(|end| (key, Value::of(value.into()), end)));
        }
        let said = u64::from_le_bytes(read_array(&mut reader)?);
        let sum = reader.sum();
        if said != count || u32::from_le_bytes(read_array(&mut reader)?) != sum {
            return Err(damaged());
        }
        self.restore(records)
    }

    fn restore(&self, records: Vec<(String, Value, Deadline)>) -> io::Result<u64> {
        let bytes = records
            .iter()
            .map(|(key, value, _)| charge(key::footprint(key.len()) + value.footprint()))
            .sum();
        let lacks_room = |limits: &Limits| !limits.has_room(records.len(), bytes);
        if self.limits.as_ref().is_some_and(lacks_room) {
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                "the snapshot does not fit the limits of this store",
            ));
        }
        let count = records.len() as u64;
        for (key, value, deadline) in records {
            let written = self.write_as_planned("load", &key, &mut Some(value), |shard, tag, _, _| Plan::Put {
                slot: shard.find(tag, &key),
                deadline,
                answer: (),
            });
            // Room was there a moment ago; others may have taken it.
            written.map_err(|error| io::Error::new(io::ErrorKind::StorageFull, error))?;
        }
        Ok(count)
    }
}

fn write_entry(writer: &mut impl Write, key: &str, value: &[u8], end: Option<i64>) -> io::Result<()> {
    match end {
        None => writer.write_all(&[PERSISTENT])?,
        Some(millis) => {
            writer.write_all(&[MORTAL])?;
            writer.write_all(&millis.to_le_bytes())?;
        }
    }
    writer.write_all(&(key.len() as u64).to_le_bytes())?;
    writer.write_all(&(value.len() as u64).to_le_bytes())?;
    writer.write_all(key.as_bytes())?;
    writer.write_all(value)
}

fn read_array<const N: usize>(reader: &mut impl Read) -> io::Result<[u8; N]> {
    let mut array = [0; N];
    reader.read_exact(&mut array)?;
    Ok(array)
}

/// Takes memory as the bytes come, and not on the word of a length that may be damaged.
fn read_vec(reader: &mut impl Read, len: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(len).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == len {
        // What grew by doubling is half empty at worst, and would be kept so.
        bytes.shrink_to_fit();
        Ok(bytes)
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

fn invalid(message: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

fn damaged() -> io::Error {
    invalid("the snapshot is damaged")
}

/// Sums up what passes through.
struct Summing<T> {
    inner: T,
    hasher: crc32fast::Hasher,
}

impl<T> Summing<T> {
    fn new(inner: T) -> Self {
        let hasher = crc32fast::Hasher::new();
        Self { inner, hasher }
    }

    fn sum(&self) -> u32 {
        self.hasher.clone().finalize()
    }
}

impl<W: Write> Write for Summing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: Read> Read for Summing<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(bytes)?;
        self.hasher.update(&bytes[..read]);
        Ok(read)
    }
}
