//! The provided methods of `KvBackend`, on the eight required ones.

use bytes::Bytes;

use crate::{
    Condition, ErrorKind, Expiry, KvBackend, OnMissing, Pattern, Result, ScanRequest, SetOptions, integer_overflow,
    not_an_integer, parse_integer,
};

pub(crate) async fn get_many<B: KvBackend + ?Sized>(backend: &B, keys: &[&str]) -> Result<Vec<Option<Bytes>>> {
    let mut values = Vec::with_capacity(keys.len());
    for key in keys {
        values.push(match backend.get(key).await {
            // One key of another type among many is a `None`, as MGET has it; see the trait's docs.
            Err(error) if error.kind() == ErrorKind::Data => None,
            answer => answer?,
        });
    }
    Ok(values)
}

pub(crate) async fn set_many<B: KvBackend + ?Sized>(
    backend: &B,
    entries: &[(&str, Bytes)],
    expiry: Expiry,
) -> Result<()> {
    // Before the first write, so that a bad expiry leaves nothing half-written.
    expiry.to_millis("set_many")?;
    for (key, value) in entries {
        // Unconditional, so there is no refusal to look at.
        let _ = backend
            .set(key, value.clone(), SetOptions::new().with_expiry(expiry))
            .await?;
    }
    Ok(())
}

pub(crate) async fn incr<B: KvBackend + ?Sized>(
    backend: &B,
    key: &str,
    delta: i64,
    on_missing: OnMissing,
) -> Result<Option<i64>> {
    if let OnMissing::Create(expiry) = on_missing {
        expiry.to_millis("incr")?;
    }
    loop {
        let (sum, options) = match (backend.get(key).await?, on_missing) {
            (Some(old), _) => {
                let sum = parse_integer(&old)
                    .ok_or_else(not_an_integer)?
                    .checked_add(delta)
                    .ok_or_else(integer_overflow)?;
                let unchanged = SetOptions::new().with_condition(Condition::IfEquals(old));
                // `Keep`, because a counter counts within the time it was given.
                (sum, unchanged.with_expiry(Expiry::Keep))
            }
            (None, OnMissing::Create(expiry)) => (delta, SetOptions::if_absent().with_expiry(expiry)),
            (None, OnMissing::Refuse) => return Ok(None),
        };
        if backend.set(key, sum.to_string().into(), options).await?.is_written() {
            return Ok(Some(sum));
        }
    }
}

pub(crate) async fn del_matching<B: KvBackend + ?Sized>(backend: &B, pattern: &Pattern) -> Result<u64> {
    let mut request = ScanRequest::new(pattern);
    let mut removed = 0;
    loop {
        let page = backend.scan(request).await?;
        let keys: Vec<&str> = page.keys.iter().map(String::as_str).collect();
        removed += backend.del(&keys).await?;
        let Some(next) = page.next else {
            return Ok(removed);
        };
        request = ScanRequest::new(pattern).with_cursor(next);
    }
}
