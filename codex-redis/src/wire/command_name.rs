//! Names of commands in spans and metrics, from a fixed list. Any other word might be a part of a
//! key.

struct Name {
    alone: &'static str,
    pipelined: &'static str,
    transacted: &'static str,
}

macro_rules! names {
    ($($name:literal)*) => {
        &[$(Name {
            alone: $name,
            pipelined: concat!("PIPELINE ", $name),
            transacted: concat!("MULTI ", $name),
        }),*]
    };
}

/// The commands that this crate sends, and the commands that applications send most over its
/// connections.
const NAMES: &[Name] = names!(
    "GET" "SET" "MGET" "INCRBY" "EVALSHA" "EVAL" "UNLINK" "EXISTS" "PEXPIRE" "PTTL" "SCAN" "PING" "CLUSTER" "SENTINEL" "ROLE"
    "AUTH" "HELLO" "SELECT" "CLIENT"
    "APPEND" "COPY" "DBSIZE" "DECR" "DECRBY" "DEL" "ECHO" "EXPIRE" "EXPIREAT" "EXPIRETIME" "FCALL" "GEOADD" "GEOSEARCH" "GETDEL"
    "GETEX" "GETRANGE" "GETSET" "HDEL" "HEXISTS" "HGET" "HGETALL" "HINCRBY" "HKEYS" "HLEN" "HMGET" "HMSET" "HSCAN" "HSET" "HSETNX"
    "HVALS" "INCR" "INCRBYFLOAT" "INFO" "KEYS" "LINDEX" "LLEN" "LPOP" "LPUSH" "LRANGE" "LREM" "LSET" "LTRIM" "MSET" "PERSIST"
    "PEXPIREAT" "PFADD" "PFCOUNT" "PSETEX" "PUBLISH" "RENAME" "RPOP" "RPUSH" "SADD" "SCARD" "SCRIPT" "SDIFF" "SETEX" "SETNX"
    "SINTER" "SISMEMBER" "SMEMBERS" "SPOP" "SRANDMEMBER" "SREM" "SSCAN" "STRLEN" "SUNION" "TIME" "TTL" "TYPE" "XACK" "XADD" "XDEL"
    "XLEN" "XRANGE" "XREAD" "XREADGROUP" "XTRIM" "ZADD" "ZCARD" "ZCOUNT" "ZINCRBY" "ZMSCORE" "ZPOPMAX" "ZPOPMIN" "ZRANGE"
    "ZRANGEBYSCORE" "ZRANK" "ZREM" "ZREMRANGEBYRANK" "ZREMRANGEBYSCORE" "ZREVRANGE" "ZREVRANK" "ZSCAN" "ZSCORE"
);

/// Returns the listed name that equals `word` except for case, or `"other"` for a word that is not
/// listed.
pub(crate) fn known(word: &[u8]) -> &'static str {
    let listed = NAMES
        .iter()
        .find(|name| name.alone.as_bytes().eq_ignore_ascii_case(word));
    listed.map_or("other", |name| name.alone)
}

fn find(name: &'static str) -> Option<&'static Name> {
    // Only the first word of a two-word name is listed.
    let word = name.split(' ').next().unwrap_or_default();
    NAMES.iter().find(|known| known.alone == word)
}

/// Returns the name of a request of these commands, and their number.
pub(crate) fn of(commands: impl Iterator<Item = &'static str>, is_transaction: bool) -> (&'static str, usize) {
    let mut names = commands;
    let Some(first) = names.next() else {
        return (if is_transaction { "MULTI" } else { "PIPELINE" }, 0);
    };
    let (mut count, mut alike) = (1, true);
    for name in names {
        count += 1;
        alike &= name == first;
    }
    let name = match (is_transaction, find(first)) {
        (false, Some(name)) if count == 1 => name.alone,
        (false, None) if count == 1 => "other",
        (false, Some(name)) if alike => name.pipelined,
        (false, _) => "PIPELINE",
        (true, Some(name)) if alike => name.transacted,
        (true, _) => "MULTI",
    };
    (name, count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_conventions_and_never_an_argument() {
        let name = |names: &[&'static str], is_transaction| of(names.iter().copied(), is_transaction);
        assert_eq!(name(&["GET"], false), ("GET", 1));
        assert_eq!(name(&["hunter2"], false), ("other", 1));
        assert_eq!(name(&["CLUSTER SLOTS"], false), ("CLUSTER", 1));
        assert_eq!(name(&[], false).0, "PIPELINE");
        assert_eq!(name(&["GET", "GET"], false), ("PIPELINE GET", 2));
        assert_eq!(name(&["GET", "GET"], true), ("MULTI GET", 2));
        assert_eq!(name(&["GET", "SET", "SET"], false), ("PIPELINE", 3));
        assert_eq!(name(&["GET", "SET", "SET"], true), ("MULTI", 3));
        assert_eq!((known(b"zadd"), known(b"hunter2")), ("ZADD", "other"));
    }
}
