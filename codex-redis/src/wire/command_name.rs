//! Names of commands, from a list: what is not on it might be a part of a key.

use redis::{Arg, Cmd, Pipeline};

use super::request::Arguments;

/// What is sent together.
pub(crate) trait Named: Sync {
    /// What OpenTelemetry calls it, and of how many commands it is.
    fn name(&self) -> (&'static str, usize);
}

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

/// Every command that is sent by this crate.
const NAMES: &[Name] = names!(
    "GET" "SET" "MGET" "INCRBY" "EVALSHA" "EVAL" "UNLINK" "EXISTS" "PEXPIRE" "PTTL" "SCAN" "PING" "CLUSTER" "SENTINEL" "ROLE"
    "AUTH" "HELLO" "SELECT" "CLIENT"
);

fn find(command: &Cmd) -> Option<&'static Name> {
    let Some(Arg::Simple(first)) = command.args_iter().next() else {
        return None;
    };
    find_word(first)
}

fn find_word(first: &[u8]) -> Option<&'static Name> {
    NAMES.iter().find(|name| name.alone.as_bytes() == first)
}

impl Named for Arguments<'_> {
    fn name(&self) -> (&'static str, usize) {
        let name = self.0.first().and_then(|first| find_word(first));
        (name.map_or("other", |name| name.alone), 1)
    }
}

impl Named for Cmd {
    fn name(&self) -> (&'static str, usize) {
        (find(self).map_or("other", |name| name.alone), 1)
    }
}

impl Named for Pipeline {
    fn name(&self) -> (&'static str, usize) {
        // ASKING belongs to the command after it.
        let is_own = |command: &&Cmd| !matches!(command.args_iter().next(), Some(Arg::Simple(b"ASKING")));
        let mut names = self.cmd_iter().filter(is_own).map(find);
        let first = names.next().flatten();
        let (mut commands, mut alike) = (1, first.is_some());
        for name in names {
            commands += 1;
            alike &= name.zip(first).is_some_and(|(name, first)| std::ptr::eq(name, first));
        }
        let name = match (self.is_transaction(), first) {
            (false, Some(name)) if commands == 1 => name.alone,
            (false, Some(name)) if alike => name.pipelined,
            (false, _) => "PIPELINE",
            (true, Some(name)) if alike => name.transacted,
            (true, _) => "MULTI",
        };
        (name, commands)
    }
}

#[cfg(test)]
mod tests {
    use redis::cmd;

    use super::*;

    #[test]
    fn names_are_those_of_the_conventions_and_never_an_argument() {
        assert_eq!(cmd("GET").arg("hunter2").name(), ("GET", 1));
        assert_eq!(cmd("hunter2").name(), ("other", 1));
        assert_eq!(Arguments(&[b"GET", b"hunter2"]).name(), ("GET", 1));
        assert_eq!(Arguments(&[b"hunter2"]).name(), ("other", 1));
        assert_eq!(Pipeline::new().name().0, "PIPELINE");
        let mut pipeline = Pipeline::new();
        pipeline.cmd("ASKING").cmd("GET").arg("hunter2");
        assert_eq!(pipeline.name(), ("GET", 1));
        pipeline.cmd("GET").arg("hunter2");
        assert_eq!(pipeline.name(), ("PIPELINE GET", 2));
        assert_eq!(pipeline.clone().atomic().name(), ("MULTI GET", 2));
        pipeline.cmd("SET").arg("hunter2").arg("hunter2");
        assert_eq!(pipeline.name(), ("PIPELINE", 3));
        assert_eq!(pipeline.atomic().name(), ("MULTI", 3));
    }
}
