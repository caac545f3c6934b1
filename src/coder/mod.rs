//! Text forms for types that JSON lacks, as the Python reference writes them.
//!
//! | kind | form | Rust types |
//! |---|---|---|
//! | datetime | `2026-04-17T12:30:45.120000+05:30` (`isoformat()`: six digits or no fraction, and the offset if there is one) | [`SystemTime`](std::time::SystemTime); `NaiveDateTime`, `DateTime<Utc>`, `DateTime<FixedOffset>`, `DateTime<Local>` (feature `chrono`) |
//! | date | `2026-04-17` | `NaiveDate` (`chrono`) |
//! | time | `12:30:45`, `01:02:03+05:30` | `NaiveTime`, `OffsetTime` (`chrono`) |
//! | timedelta | seconds as a float: `93780.0` | [`Duration`](std::time::Duration); `TimeDelta` (`chrono`) |
//! | decimal | `1.10`, `-0.00`, `1E-28` (`str()`) | `Decimal` (feature `rust_decimal`) |
//! | uuid | `12345678-1234-5678-1234-567812345678` | `Uuid` (feature `uuid`) |
//! | bytes | lower-case hex | `Vec<u8>`, `[u8; N]`, `[u8]`, [`bytes::Bytes`](::bytes::Bytes), `serialize_bytes` |
//! | set | a list | any set |
//! | bool | `"1"`, `"0"` | `bool` |
//! | none | `""` | `Option<T>`, `()` |
//!
//! The functions, modules and newtypes below read only these forms, in exactly this spelling. A
//! value that a type or a form cannot represent exactly is an error and is never rounded.
//!
//! # Four ways to use the forms
//!
//! | way | for | example |
//! |---|---|---|
//! | [`dump`] and [`load`], or [`Coded`] | whole values | `cache.set("job", &coder::dump(&job), …)` |
//! | modules | one field | `#[serde(with = "coder::datetime")]`, or `coder::datetime::option` for an `Option` |
//! | newtypes | one field or element, anywhere | `took: coder::Timedelta<Duration>` |
//! | functions | one value | `coder::dump_datetime(&placed)?` |
//!
//! [`dump`] recognises the types above at any depth in a value, including behind a reference, a
//! `Box`, an `Rc`, an `Arc` or a `Cow`. The following places hide the type from `dump` or from
//! [`load`]:
//!
//! | place | written by `dump` as | read by `load` | use instead |
//! |---|---|---|---|
//! | inside `#[serde(flatten)]`, an untagged or an internally tagged enum | its form | as text, because serde buffers it: an error for a `bool`, an `Option`, bytes or a span | a newtype or a module |
//! | in the same places, a `u128`, an `i128`, or a map with integer or bool keys | what serde writes | an error, because the buffer holds 64 bits and keys as text | a plain field, or a string |
//! | behind another pointer, such as a `Mutex` | what serde writes | yes | a newtype, if other programs read it |
//! | a datetime with another time zone type, such as `chrono_tz::Tz` | what serde writes | yes | `moment.fixed_offset()` |
//!
//! Writing a value nested in more than 127 arrays and objects fails, because `serde_json` does not
//! read deeper values.
//!
//! [`dump`] writes a set in its iteration order. [`set`] sorts the elements, so that equal sets
//! have equal texts. serde loses the seconds of a `chrono` offset on write, and the sign of a
//! `rust_decimal` zero on read. [`Datetime`] and [`Decimal`] keep both.
//!
//! ```
//! use std::time::Duration;
//!
//! use codex_kv::{Cache, Timeout, coder, memory::MemoryBackend};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Debug, PartialEq, Serialize, Deserialize)]
//! struct Job {
//!     done: bool,
//!     took: Duration,
//!     digest: Vec<u8>,
//!     note: Option<String>,
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let took = Duration::from_millis(1_500);
//! let job = Job { done: true, took, digest: vec![0, 255], note: None };
//! let dumped = serde_json::to_string(&coder::dump(&job))?;
//! assert_eq!(dumped, r#"{"done":"1","took":1.5,"digest":"00ff","note":""}"#);
//!
//! let cache = Cache::builder(MemoryBackend::new()).key_prefix("shop").build()?;
//! cache.set("job", &coder::dump(&job), Timeout::Default).await?;
//! let coder::Coded(read) = cache.get::<coder::Coded<Job>>("job").await?.expect("stored just now");
//! assert_eq!(read, job);
//! # Ok(())
//! # }
//! ```

pub mod bool;
mod byte_list;
pub mod bytes;
mod coded;
mod error;
mod hex;
pub mod kind;
mod load;
mod newtypes;
pub mod none;
mod parts;
mod seconds;
pub mod set;
mod system_time;
mod text;
mod typed;

#[cfg(feature = "chrono")]
mod datetimes;
#[cfg(feature = "rust_decimal")]
mod numbers;
#[cfg(feature = "uuid")]
mod uuids;

pub use self::{
    bool::{dump_bool, load_bool},
    bytes::{dump_bytes, load_bytes},
    coded::{Coded, dump, load},
    error::CoderError,
    newtypes::{Bool, Bytes, Date, Datetime, Decimal, Time, Timedelta, Uuid},
    none::{dump_none, load_none},
    seconds::{SecondsForm, dump_timedelta, load_timedelta, timedelta},
    set::{dump_set, load_set},
    text::{
        TextForm, date, datetime, decimal, dump_date, dump_datetime, dump_decimal, dump_time, dump_uuid, load_date,
        load_datetime, load_decimal, load_time, load_uuid, time, uuid,
    },
};

#[cfg(feature = "chrono")]
pub use datetimes::OffsetTime;

pub(crate) use error::REFUSALS;
