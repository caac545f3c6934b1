//! The provided methods of `KvBackend`, built on the eight required methods.

use bytes::Bytes;

use crate::{
    Condition, Error, ErrorKind, Expiry, KvBackend, OnMissing, Pattern, Result, ScanRequest, SetOptions, Ttl,
    parse_integer,
};

pub(crate) async fn get_many<B: KvBackend + ?Sized>(backend: &B, keys: &[&str]) -> Result<Vec<Option<Bytes>>> {
    let mut values = Vec::with_capacity(keys.len());
    for key in keys {
        values.push(match backend.get(key).await {
            // A key of another type is `None`, as in MGET.
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
    // Checked before the first write, so that an invalid expiry never leaves some entries written.
    // Only the store knows the exact limit, so a duration between `Expiry::MAX` and that limit
    // passes here.
    expiry.to_millis_at("set_many", || 0)?;
    for (key, value) in entries {
        // An unconditional write is never refused.
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
        expiry.to_millis_at("incr", || 0)?;
    }
    loop {
        let (sum, options) = match (backend.get(key).await?, on_missing) {
            (Some(old), _) => {
                let sum = parse_integer(&old)
                    .ok_or_else(Error::not_an_integer)?
                    .checked_add(delta)
                    .ok_or_else(Error::integer_overflow)?;
                let unchanged = SetOptions::new().with_condition(Condition::IfEquals(old));
                // A counter keeps the time to live that it was created with.
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

pub(crate) async fn get_with_ttl<B: KvBackend + ?Sized>(backend: &B, key: &str) -> Result<Option<(Bytes, Ttl)>> {
    let Some(value) = backend.get(key).await? else {
        return Ok(None);
    };
    Ok(match backend.ttl(key).await? {
        // The key expired or was deleted between the two calls.
        Ttl::Missing => None,
        ttl => Some((value, ttl)),
    })
}

pub(crate) async fn health<B: KvBackend + ?Sized>(backend: &B) -> Result<()> {
    // `ttl` transfers no value and works on a key of any type.
    backend
        .ttl("codex-kv:health")
        .await
        .map(drop)
        .map_err(|error| error.with_operation("health"))
}
