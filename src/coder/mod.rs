//! Text forms for what JSON has no type for, as the Python reference writes them.
//!
//! | kind | form | Rust types |
//! |---|---|---|
//! | datetime | `2026-04-17T12:30:45.120000+05:30` (`isoformat()`: six digits or no fraction, the offset where there is one) | `NaiveDateTime`, `DateTime<FixedOffset>`, `DateTime<Utc>` (feature `chrono`) |
//! | date | `2026-04-17` | `NaiveDate` (`chrono`) |
//! | time | `12:30:45`, `01:02:03+05:30` | `NaiveTime`, `OffsetTime` (`chrono`) |
//! | timedelta | seconds as a float: `93780.0` | [`Duration`](std::time::Duration), `TimeDelta` (`chrono`) |
//! | decimal | `1.10`, `-0.00`, `1E-28` (`str()`) | `Decimal` (feature `rust_decimal`) |
//! | uuid | `12345678-1234-5678-1234-567812345678` | `Uuid` (feature `uuid`) |
//! | bytes | lower-case hex | `Vec<u8>`, `Bytes`, … |
//! | set | a list | any set |
//! | bool | `"1"`, `"0"` | `bool` |
//! | none | `""` | `Option<T>` |
//!
//! Exactly the form that is written is read. What a type cannot hold exactly is an error, never rounded.
//!
//! There are three ways to use them. `dump_…` and `load_…` turn single values. The modules (`coder::datetime`, …) go into
//! `#[serde(with = "…")]`, those of a text also for an `Option` (`coder::datetime::option`). And [`dump`] turns a whole
//! value, whatever serde can write; [`Coded`] and [`load`] read it back by the type that is asked for:
//!
//! ```
//! use codex_kv::{Cache, Timeout, coder, memory::MemoryBackend};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Debug, PartialEq, Serialize, Deserialize)]
//! struct Job {
//!     done: bool,
//!     #[serde(with = "coder::bytes")]
//!     digest: Vec<u8>,
//!     note: Option<String>,
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let job = Job { done: true, digest: vec![0, 255], note: None };
//! assert_eq!(serde_json::to_string(&coder::dump(&job))?, r#"{"done":"1","digest":"00ff","note":""}"#);
//!
//! let cache = Cache::builder(MemoryBackend::new()).key_prefix("shop").build()?;
//! cache.set("job", &coder::dump(&job), Timeout::Default).await?;
//! let coder::Coded(read) = cache.get::<coder::Coded<Job>>("job").await?.expect("stored just now");
//! assert_eq!(read, job);
//! # Ok(())
//! # }
//! ```

pub mod bool;
pub mod bytes;
mod coded;
mod error;
mod hex;
pub mod kind;
mod load;
pub mod none;
mod seconds;
pub mod set;
mod text;

#[cfg(feature = "chrono")]
mod moments;
#[cfg(feature = "rust_decimal")]
mod numbers;
#[cfg(feature = "uuid")]
mod uuids;

pub use self::{
    bool::{dump_bool, load_bool},
    bytes::{dump_bytes, load_bytes},
    coded::{Coded, dump, load},
    error::CoderError,
    none::{dump_none, load_none},
    seconds::{SecondsForm, dump_timedelta, load_timedelta, timedelta},
    set::{dump_set, load_set},
    text::{
        TextForm, date, datetime, decimal, dump_date, dump_datetime, dump_decimal, dump_time, dump_uuid, load_date,
        load_datetime, load_decimal, load_time, load_uuid, time, uuid,
    },
};

#[cfg(feature = "chrono")]
pub use moments::OffsetTime;

pub(crate) use error::REFUSALS;
