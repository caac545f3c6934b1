//! Traces of cache accesses: public traces from the folder that BENCH_TRACES names, and generated
//! traces.

use std::{env, fs, io, path::Path};

use crate::random::{self, Random};

const KEYS: usize = 100_000;
const ACCESSES: usize = 2_000_000;

#[derive(Clone, Copy)]
enum Format {
    /// Lines of a first block and a number of blocks, as in the ARC traces.
    Blocks,
    /// A number on each line.
    Lines,
    /// Big-endian words of this many bytes.
    Words(usize),
}

/// The public traces, by the names that their files have after decompression.
const PUBLIC: [(&str, &str, Format); 20] = [
    ("OLTP", "OLTP.lis", Format::Blocks),
    ("P2", "P2.lis", Format::Blocks),
    ("P3", "P3.lis", Format::Blocks),
    ("P6", "P6.lis", Format::Blocks),
    ("P12", "P12.lis", Format::Blocks),
    ("2_pools", "2_pools.trace", Format::Lines),
    ("cpp", "cpp.trace", Format::Lines),
    ("cs", "cs.trace", Format::Lines),
    ("gli", "gli.trace", Format::Lines),
    ("multi1", "multi1.trace", Format::Lines),
    ("multi2", "multi2.trace", Format::Lines),
    ("multi3", "multi3.trace", Format::Lines),
    ("ps", "ps.trace", Format::Lines),
    ("sprite", "sprite.trace", Format::Lines),
    ("CloudPhysics w106", "w106.trace", Format::Words(4)),
    ("orm-busy", "orm-busy.trace", Format::Words(4)),
    ("orm-night", "orm-night.trace", Format::Words(4)),
    ("web07", "web07.trace", Format::Words(4)),
    ("web12", "web12.trace", Format::Words(4)),
    ("Scarab recs", "scarab-recs.trace", Format::Words(8)),
];

pub(crate) struct Trace {
    pub(crate) name: &'static str,
    pub(crate) keys: Vec<u64>,
}

/// Calls `each` with one trace after another, so that only one is in memory at a time.
pub(crate) fn for_each(mut each: impl FnMut(Trace)) {
    if let Ok(folder) = env::var("BENCH_TRACES") {
        for (name, file, format) in PUBLIC {
            match read(&Path::new(&folder).join(file), format) {
                Ok(keys) => each(Trace { name, keys }),
                Err(error) => println!("  {name}: {file}: {error}"),
            }
        }
    }
    let generated: [(&str, fn() -> Vec<u32>); 3] = [
        ("zipf 0.9", zipf),
        ("zipf 0.9 with scans", with_scans),
        ("zipf 0.9, shifting", shifting),
    ];
    for (name, trace) in generated {
        let keys = trace().into_iter().map(u64::from).collect();
        each(Trace { name, keys });
    }
}

fn read(path: &Path, format: Format) -> io::Result<Vec<u64>> {
    let bytes = fs::read(path)?;
    if let Format::Words(size) = format {
        let number = |word: &[u8]| word.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
        return Ok(bytes.chunks_exact(size).map(number).collect());
    }
    let text = String::from_utf8_lossy(&bytes);
    let numbers = text.lines().filter_map(|line| {
        let mut fields = line.split_whitespace().map(str::parse::<u64>);
        let first = fields.next()?.ok()?;
        let count = match format {
            Format::Blocks => fields.next()?.ok()?,
            Format::Lines | Format::Words(_) => 1,
        };
        Some(first..first + count)
    });
    Ok(numbers.flatten().collect())
}

/// Returns a Zipf trace with an exponent of 0.9.
fn zipf() -> Vec<u32> {
    random::zipf(KEYS, 0.9, ACCESSES, 21)
}

/// Returns the same trace with a scan after every 20,000 accesses. Each scan reads 10,000 keys that
/// are never read again.
fn with_scans() -> Vec<u32> {
    let mut trace = Vec::new();
    let mut fresh = KEYS as u32;
    for chunk in zipf().chunks(20_000) {
        trace.extend(chunk);
        trace.extend(fresh..fresh + 10_000);
        fresh += 10_000;
    }
    trace
}

/// Returns the same trace, except that the set of popular keys changes eight times.
fn shifting() -> Vec<u32> {
    let mut random = Random::new(22);
    let mut trace = Vec::new();
    for chunk in zipf().chunks(ACCESSES / 8) {
        let shift = random.below(KEYS) as u32;
        trace.extend(chunk.iter().map(|key| (key + shift) % KEYS as u32));
    }
    trace
}
