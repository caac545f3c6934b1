//! Snapshots of a store.
//!
//! # The format, version 1
//!
//! All numbers are little-endian and have a fixed size, so a snapshot can be read on any
//! architecture.
//!
//! | bytes | content |
//! |---|---|
//! | 8 | `CODEXMEM` |
//! | 4 | the version: 1 |
//! | | then for each entry: |
//! | 1 | 1: persistent; 2: with a deadline |
//! | 8 | only with a deadline: milliseconds since 1970, signed |
//! | 8 + 8 | the lengths of the key and of the value |
//! | | the key, UTF-8; the value |
//! | | and at the end: |
//! | 1 | 0: no more entries |
//! | 8 | the number of entries |
//! | 4 | CRC-32 (IEEE 802.3) of all bytes before |
//!
//! Each change to the format gets a new version. The library refuses versions that it does not
//! know. Later releases will still read version 1. `tests/data/snapshot-v1.bin` was written by an
//! independent implementation and must stay readable.

use std::{
    collections::VecDeque,
    io::{self, BufReader, BufWriter, Read, Write},
    time::Duration,
};

use bytes::Bytes;

use crate::{
    MemoryBackend,
    accounting::charge::charge,
    cursor::ScanCursor,
    index::{
        key,
        value::{self, Value},
    },
    shard::shard::key_text,
    store::{Plan, Store},
    time::{clock::Reading, deadline::Deadline},
};

const MAGIC: [u8; 8] = *b"CODEXMEM";
const VERSION: u32 = 1;

const DONE: u8 = 0;
const PERSISTENT: u8 = 1;
const EXPIRING: u8 = 2;

/// The most memory allocated for a key or value before its bytes have arrived.
const INITIAL_CAPACITY: u64 = 64 * 1024;

impl MemoryBackend {
    /// Writes a snapshot of all live entries, and returns their number. [`load`](Self::load) reads
    /// it back, in this process or another.
    ///
    /// The store serves calls during the dump. An entry that exists throughout is written once, in
    /// its state at one moment of the dump. An entry that is added or removed during the dump may
    /// or may not be included. Deadlines are written as wall time. The format is versioned and ends
    /// with a checksum. Values are not encrypted: anyone who can read the file can read the
    /// sessions in it.
    ///
    /// # Errors
    ///
    /// The errors of `writer`. The bytes written before an error are not a snapshot, and `load`
    /// refuses them. To replace a snapshot safely, write to a new file and rename it.
    pub fn dump(&self, writer: impl Write) -> io::Result<u64> {
        self.store.dump(writer)
    }

    /// Adds the entries of a [`dump`](Self::dump) to this store, and returns the number of stored
    /// entries. Replaces existing entries with the same keys. Skips entries that have expired by
    /// the wall clock. The other entries keep their deadlines by the wall clock. If the wall clock
    /// was set back, they live longer by that time.
    ///
    /// The whole snapshot is read and checked before the store is changed. The entries read take no
    /// more memory than the limits of the store allow. A store that evicts loads the last entries
    /// that fit its limits. If there is no room for them beside its own entries, it evicts entries
    /// of both. `load` may read from `reader` beyond the end of the snapshot.
    ///
    /// # Errors
    ///
    /// The errors of `reader`; [`io::ErrorKind::UnexpectedEof`] for a truncated snapshot;
    /// [`io::ErrorKind::InvalidData`] for a damaged snapshot, a snapshot of another version, and
    /// any other input; [`io::ErrorKind::StorageFull`] if a store that refuses writes when full
    /// lacks room for the entries in addition to its own, as soon as an entry does not fit. An
    /// error leaves the store unchanged, unless other writes take the room while the entries are
    /// being stored.
    pub fn load(&self, reader: impl Read) -> io::Result<u64> {
        self.store.load(reader)
    }
}

/// Readings of the store's clock and of the wall clock at the same moment.
struct WallClock {
    now: Duration,
    unix_millis: i64,
}

impl WallClock {
    fn of(store: &Store) -> Self {
        Self {
            now: store.reading().now(),
            unix_millis: store.unix_millis(),
        }
    }

    /// Returns a deadline as wall time. Rounds the remaining time up, but the wall time is rounded
    /// down, so an entry can expire up to a millisecond early.
    fn unix_deadline(&self, deadline: Duration) -> i64 {
        let left = deadline.saturating_sub(self.now).as_nanos().div_ceil(1_000_000);
        self.unix_millis.saturating_add(i64::try_from(left).unwrap_or(i64::MAX))
    }

    /// Returns a wall-time deadline on the store's clock, or `None` if it has passed.
    fn deadline(&self, unix_deadline: i64) -> Option<Deadline> {
        let left = u64::try_from(unix_deadline.saturating_sub(self.unix_millis))
            .ok()
            .filter(|&left| left > 0)?;
        Some(Deadline::after(self.now, Duration::from_millis(left)))
    }
}

/// A copy of a live entry.
struct Record {
    key: String,
    value: Bytes,
    unix_deadline: Option<i64>,
}

impl Store {
    pub(crate) fn dump(&self, writer: impl Write) -> io::Result<u64> {
        let mut writer = Checksummed::new(BufWriter::new(writer));
        writer.write_all(&MAGIC)?;
        writer.write_all(&VERSION.to_le_bytes())?;
        let mut count: u64 = 0;
        let mut cursor = ScanCursor::default();
        while self.shards().contains(&cursor.shard) {
            let (records, next) = self.records(cursor);
            for record in &records {
                write_record(&mut writer, record)?;
                count += 1;
            }
            cursor = next;
        }
        writer.write_all(&[DONE])?;
        writer.write_all(&count.to_le_bytes())?;
        let sum = writer.sum();
        writer.write_all(&sum.to_le_bytes())?;
        writer.flush()?;
        Ok(count)
    }

    /// Returns the live entries of a bucket, and the cursor after it.
    fn records(&self, cursor: ScanCursor) -> (Vec<Record>, ScanCursor) {
        let wall = WallClock::of(self);
        let shard = self.read(cursor.shard);
        let page = shard.page(cursor.hash);
        let copied = page.live(Reading::Taken(wall.now)).filter_map(|entry| {
            Some(Record {
                key: key_text(entry.key()),
                value: entry.content().share()?,
                unix_deadline: entry.deadline.since_origin().map(|end| wall.unix_deadline(end)),
            })
        });
        (copied.collect(), cursor.after(page.next))
    }

    pub(crate) fn load(&self, reader: impl Read) -> io::Result<u64> {
        let wall = WallClock::of(self);
        let mut reader = Checksummed::new(BufReader::new(reader));
        if read_array(&mut reader)? != MAGIC {
            return Err(invalid(
                "not a snapshot of a memory store: expected it to begin with `CODEXMEM`",
            ));
        }
        let version = u32::from_le_bytes(read_array(&mut reader)?);
        if version != VERSION {
            return Err(invalid(
                "a snapshot of a version that this library cannot read: expected version 1",
            ));
        }
        let mut staged = Staging::new(self);
        let mut count: u64 = 0;
        loop {
            let deadline = match read_array(&mut reader)? {
                [DONE] => break,
                [PERSISTENT] => Some(Deadline::NEVER),
                [EXPIRING] => wall.deadline(i64::from_le_bytes(read_array(&mut reader)?)),
                [_] => return Err(damaged()),
            };
            let key_len = u64::from_le_bytes(read_array(&mut reader)?);
            let value_len = u64::from_le_bytes(read_array(&mut reader)?);
            count += 1;
            match deadline {
                Some(deadline) if staged.make_room(key_len, value_len)? => {
                    let key = String::from_utf8(read_vec(&mut reader, key_len)?).map_err(|_| damaged())?;
                    let value = Value::compact_from(read_vec(&mut reader, value_len)?);
                    staged.push(key, value, deadline);
                }
                _ => {
                    skip(&mut reader, key_len)?;
                    skip(&mut reader, value_len)?;
                }
            }
        }
        let said = u64::from_le_bytes(read_array(&mut reader)?);
        let sum = reader.sum();
        if said != count || u32::from_le_bytes(read_array(&mut reader)?) != sum {
            return Err(damaged());
        }
        self.restore(staged.entries)
    }

    fn restore(&self, entries: VecDeque<StagedEntry>) -> io::Result<u64> {
        let mut count = 0;
        for StagedEntry {
            key, value, deadline, ..
        } in entries
        {
            let place = self.locate(&key);
            let written = self.write_as_planned("load", place, &key, &mut Some(value), |shard, hash, _, _| Plan::Put {
                slot: shard.find(hash, &key),
                deadline,
                answer: (),
            });
            // There was room when the entries were read, but other writes may have taken it.
            written.map_err(|error| io::Error::new(io::ErrorKind::StorageFull, error))?;
            count += 1;
        }
        Ok(count)
    }
}

/// The entries of a snapshot that has not been checked to its end, within the limits of the store.
struct Staging<'a> {
    store: &'a Store,
    entries: VecDeque<StagedEntry>,
    /// The sum of the entries' charges.
    charged: usize,
}

struct StagedEntry {
    key: String,
    value: Value,
    deadline: Deadline,
    charge: usize,
}

impl<'a> Staging<'a> {
    fn new(store: &'a Store) -> Self {
        Self {
            store,
            entries: VecDeque::new(),
            charged: 0,
        }
    }

    /// Makes room for an entry before its bytes are read. Returns `false` if the entry must be
    /// skipped, because it alone exceeds the limits of a store that evicts.
    fn make_room(&mut self, key_len: u64, value_len: u64) -> io::Result<bool> {
        let Some(limits) = self.store.limits() else {
            return Ok(true);
        };
        let len = |len: u64| usize::try_from(len).unwrap_or(usize::MAX);
        let footprint = key::footprint(len(key_len)).saturating_add(value::compact_footprint(len(value_len)));
        let charge = charge(footprint);
        if !limits.evicts() {
            let charged = self.charged.saturating_add(charge);
            let has_room = || limits.has_room(self.entries.len() + 1, charged);
            // Expired entries are charged until they are removed.
            return if has_room() || (self.store.reap_all() > 0 && has_room()) {
                Ok(true)
            } else {
                Err(io::Error::new(
                    io::ErrorKind::StorageFull,
                    "the snapshot does not fit the limits of this store",
                ))
            };
        }
        if charge > limits.max_bytes() {
            return Ok(false);
        }
        while self.entries.len() >= limits.max_entries() || self.charged > limits.max_bytes() - charge {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.charged -= oldest.charge;
        }
        Ok(true)
    }

    fn push(&mut self, key: String, value: Value, deadline: Deadline) {
        let charge = charge(key::footprint(key.len()) + value.footprint());
        self.charged = self.charged.saturating_add(charge);
        self.entries.push_back(StagedEntry {
            key,
            value,
            deadline,
            charge,
        });
    }
}

fn write_record(writer: &mut impl Write, record: &Record) -> io::Result<()> {
    match record.unix_deadline {
        None => writer.write_all(&[PERSISTENT])?,
        Some(millis) => {
            writer.write_all(&[EXPIRING])?;
            writer.write_all(&millis.to_le_bytes())?;
        }
    }
    writer.write_all(&(record.key.len() as u64).to_le_bytes())?;
    writer.write_all(&(record.value.len() as u64).to_le_bytes())?;
    writer.write_all(record.key.as_bytes())?;
    writer.write_all(&record.value)
}

fn read_array<const N: usize>(reader: &mut impl Read) -> io::Result<[u8; N]> {
    let mut array = [0; N];
    reader.read_exact(&mut array).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => truncated(),
        _ => error,
    })?;
    Ok(array)
}

/// Reads `len` bytes. The buffer grows as they arrive, because a damaged length may be huge.
fn read_vec(reader: &mut impl Read, len: u64) -> io::Result<Vec<u8>> {
    let capacity = usize::try_from(len.min(INITIAL_CAPACITY)).unwrap_or_default();
    let mut bytes = Vec::with_capacity(capacity);
    reader.take(len).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == len {
        // A large buffer grows by doubling, and may be too large by now.
        bytes.shrink_to_fit();
        Ok(bytes)
    } else {
        Err(truncated())
    }
}

fn skip(reader: &mut impl Read, len: u64) -> io::Result<()> {
    if io::copy(&mut reader.take(len), &mut io::sink())? == len {
        Ok(())
    } else {
        Err(truncated())
    }
}

fn truncated() -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "a truncated snapshot of a memory store, or an empty file",
    )
}

fn invalid(message: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

fn damaged() -> io::Error {
    invalid("the snapshot is damaged")
}

/// A reader or writer that computes the checksum of the bytes that pass through it.
struct Checksummed<T> {
    inner: T,
    hasher: crc32fast::Hasher,
}

impl<T> Checksummed<T> {
    fn new(inner: T) -> Self {
        let hasher = crc32fast::Hasher::new();
        Self { inner, hasher }
    }

    fn sum(&self) -> u32 {
        self.hasher.clone().finalize()
    }
}

impl<W: Write> Write for Checksummed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: Read> Read for Checksummed<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(bytes)?;
        self.hasher.update(&bytes[..read]);
        Ok(read)
    }
}
