//! Commands and requests, and their encoding.
//!
//! A [`Command`] borrows its arguments. It is written into a connection's buffer each time it is
//! sent: usually once, and again if it is repeated. Nothing is copied in between.

use super::command_name;

/// The number of arguments that a command keeps without an allocation. The longest verb, a script
/// with options, has eight.
const INLINE: usize = 8;

/// The maximum number of bytes around an argument: `$`, its length, and two line ends.
const FRAME: usize = 25;

/// One argument.
#[derive(Clone, Copy)]
pub(crate) enum Argument<'a> {
    Bytes(&'a [u8]),
    Decimal(Decimal),
}

impl Argument<'_> {
    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Decimal(decimal) => decimal.as_bytes(),
        }
    }
}

impl<'a, T: AsRef<[u8]> + ?Sized> From<&'a T> for Argument<'a> {
    fn from(bytes: &'a T) -> Self {
        Self::Bytes(bytes.as_ref())
    }
}

impl From<u64> for Argument<'_> {
    fn from(number: u64) -> Self {
        Self::Decimal(Decimal::unsigned(number))
    }
}

impl From<i64> for Argument<'_> {
    fn from(number: i64) -> Self {
        Self::Decimal(Decimal::signed(number))
    }
}

/// A command and its arguments.
pub(crate) struct Command<'a> {
    name: &'static str,
    body: Body<'a>,
    /// The approximate size in bytes: the sum of the arguments.
    size: usize,
    is_read: bool,
    is_secret: bool,
}

enum Body<'a> {
    /// The words of the name, then the arguments.
    Arguments {
        first: [Argument<'a>; INLINE],
        count: usize,
        more: Vec<Argument<'a>>,
    },
    /// An encoded command.
    Packed(Vec<u8>),
}

impl<'a> Command<'a> {
    /// Creates a command of this name that may change something. A name of two words is sent as two
    /// arguments.
    #[inline]
    pub(crate) fn new(name: &'static str) -> Self {
        let mut command = Self {
            name,
            body: Body::Arguments {
                first: [Argument::Bytes(&[]); INLINE],
                count: 0,
                more: Vec::new(),
            },
            size: 0,
            is_read: false,
            is_secret: false,
        };
        // `split_once` costs more than the rest of this function for such short names.
        match name.bytes().position(|byte| byte == b' ') {
            None => command.push(name.into()),
            Some(end) => {
                command.push((&name[..end]).into());
                command.push((&name[end + 1..]).into());
            }
        }
        command
    }

    /// Creates a command that changes nothing. It may be sent again after a connection was lost.
    #[inline]
    pub(crate) fn read(name: &'static str) -> Self {
        let mut command = Self::new(name);
        command.is_read = true;
        command
    }

    /// Creates a command from its encoding.
    pub(crate) fn packed(name: &'static str, bytes: Vec<u8>) -> Self {
        Self {
            name,
            size: bytes.len(),
            body: Body::Packed(bytes),
            is_read: false,
            is_secret: false,
        }
    }

    /// Marks the command as secret, so that its buffer is wiped after use.
    pub(crate) fn secret(self) -> Self {
        Self {
            is_secret: true,
            ..self
        }
    }

    #[inline]
    pub(crate) fn arg(mut self, argument: impl Into<Argument<'a>>) -> Self {
        self.push(argument.into());
        self
    }

    pub(crate) fn args<T: AsRef<[u8]> + 'a>(mut self, arguments: &'a [T]) -> Self {
        if let Body::Arguments { more, .. } = &mut self.body
            && arguments.len() > INLINE
        {
            more.reserve_exact(arguments.len());
        }
        for argument in arguments {
            self.push(Argument::Bytes(argument.as_ref()));
        }
        self
    }

    /// Adds an argument in place. A chain of [`arg`](Self::arg) would move the command each time.
    #[inline]
    pub(crate) fn push(&mut self, argument: Argument<'a>) {
        let Body::Arguments { first, count, more } = &mut self.body else {
            return;
        };
        self.size += argument.as_bytes().len();
        match first.get_mut(*count) {
            Some(place) => {
                *place = argument;
                *count += 1;
            }
            None => more.push(argument),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match &self.body {
            Body::Packed(bytes) => out.extend_from_slice(bytes),
            Body::Arguments { first, count, more } => {
                let arguments = *count + more.len();
                // Reserved in one step, so that a buffer with a password is never moved.
                out.reserve(self.size + FRAME * (arguments + 1));
                write_head(out, b'*', arguments);
                for argument in &first[..*count] {
                    write_bulk(out, argument.as_bytes());
                }
                for argument in more {
                    write_bulk(out, argument.as_bytes());
                }
            }
        }
    }
}

fn write_bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    write_head(out, b'$', bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// Appends a line of a type and a number. Short lines are copied in one step, because they are most
/// of the work of encoding a small request.
fn write_head(out: &mut Vec<u8>, kind: u8, number: usize) {
    #[expect(clippy::cast_possible_truncation, reason = "a digit fits")]
    let digit = |unit: usize| b'0' + (number / unit % 10) as u8;
    match number {
        0..10 => out.extend_from_slice(&[kind, digit(1), b'\r', b'\n']),
        10..100 => out.extend_from_slice(&[kind, digit(10), digit(1), b'\r', b'\n']),
        100..1000 => out.extend_from_slice(&[kind, digit(100), digit(10), digit(1), b'\r', b'\n']),
        _ => {
            out.push(kind);
            out.extend_from_slice(Decimal::unsigned(number as u64).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// A command by its index, and whether `ASKING` precedes it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pick {
    pub(crate) at: usize,
    pub(crate) asking: bool,
}

/// Commands that are sent together.
#[derive(Clone, Copy)]
pub(crate) struct Request<'r, 'a> {
    commands: &'r [Command<'a>],
    picks: Option<&'r [Pick]>,
    is_transaction: bool,
}

const ASKING: &[u8] = b"*1\r\n$6\r\nASKING\r\n";
const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";
const EXEC: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";

impl<'r, 'a> Request<'r, 'a> {
    pub(crate) fn one(command: &'r Command<'a>) -> Self {
        Self::all(std::slice::from_ref(command))
    }

    pub(crate) fn all(commands: &'r [Command<'a>]) -> Self {
        Self {
            commands,
            picks: None,
            is_transaction: false,
        }
    }

    /// Creates a request of these commands between `MULTI` and `EXEC`.
    pub(crate) fn transaction(commands: &'r [Command<'a>]) -> Self {
        Self {
            is_transaction: true,
            ..Self::all(commands)
        }
    }

    /// Creates a request of the picked commands. Skips a pick without a command.
    pub(crate) fn picked(commands: &'r [Command<'a>], picks: &'r [Pick]) -> Self {
        Self {
            picks: Some(picks),
            ..Self::all(commands)
        }
    }

    /// Returns the command of a request that consists of a single command. Most do.
    fn only(&self) -> Option<&'r Command<'a>> {
        match self.commands {
            [command] if self.picks.is_none() && !self.is_transaction => Some(command),
            _ => None,
        }
    }

    fn commands(&self) -> impl Iterator<Item = (&'r Command<'a>, bool)> {
        let commands = self.commands;
        let all = if self.picks.is_none() { commands } else { &[] };
        let picked = self.picks.unwrap_or_default().iter();
        all.iter()
            .map(|command| (command, false))
            .chain(picked.filter_map(move |pick| commands.get(pick.at).map(|command| (command, pick.asking))))
    }

    /// Returns the number of replies: one for each command, and those to `ASKING`, `MULTI` and
    /// `EXEC`.
    pub(crate) fn replies(&self) -> usize {
        if self.only().is_some() {
            return 1;
        }
        let around = if self.is_transaction { 2 } else { 0 };
        match self.picks {
            None => self.commands.len() + around,
            Some(_) => {
                self.commands()
                    .map(|(_, asking)| 1 + usize::from(asking))
                    .sum::<usize>()
                    + around
            }
        }
    }

    pub(crate) fn is_transaction(&self) -> bool {
        self.is_transaction
    }

    /// Returns whether a part of the request can have an effect before its last byte arrives.
    pub(crate) fn runs_in_parts(&self) -> bool {
        !self.is_transaction && self.replies() > 1
    }

    /// Returns whether the request changes nothing, so that it may be sent again.
    pub(crate) fn is_read(&self) -> bool {
        self.commands().all(|(command, _)| command.is_read)
    }

    /// Returns whether the request holds a password.
    pub(crate) fn is_secret(&self) -> bool {
        match self.only() {
            Some(command) => command.is_secret,
            None => self.commands().any(|(command, _)| command.is_secret),
        }
    }

    /// Returns the approximate size in bytes.
    pub(crate) fn size(&self) -> usize {
        match self.only() {
            Some(command) => command.size,
            None => self.commands().map(|(command, _)| command.size).sum(),
        }
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        if let Some(command) = self.only() {
            return command.write(out);
        }
        let frames = self.commands().map(|(command, _)| command.size + FRAME * (INLINE + 1));
        out.reserve(frames.sum());
        if self.is_transaction {
            out.extend_from_slice(MULTI);
        }
        for (command, asking) in self.commands() {
            if asking {
                out.extend_from_slice(ASKING);
            }
            command.write(out);
        }
        if self.is_transaction {
            out.extend_from_slice(EXEC);
        }
    }

    /// Returns the name by OpenTelemetry's conventions, and the number of commands.
    pub(crate) fn name(&self) -> (&'static str, usize) {
        command_name::of(self.commands().map(|(command, _)| command.name), self.is_transaction)
    }
}

/// A number as text, on the stack.
#[derive(Clone, Copy)]
pub(crate) struct Decimal {
    digits: [u8; 20],
    start: u8,
}

impl Decimal {
    pub(crate) fn unsigned(mut number: u64) -> Self {
        let mut digits = [0; 20];
        let mut start = 20_u8;
        loop {
            start -= 1;
            digits[usize::from(start)] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return Self { digits, start };
            }
        }
    }

    pub(crate) fn signed(number: i64) -> Self {
        let mut decimal = Self::unsigned(number.unsigned_abs());
        if number < 0 {
            // An i64 has at most 19 digits.
            decimal.start -= 1;
            decimal.digits[usize::from(decimal.start)] = b'-';
        }
        decimal
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.digits[usize::from(self.start)..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(request: Request<'_, '_>) -> String {
        let mut out = b"before ".to_vec();
        request.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_command_is_written_as_an_array_of_bulk_strings() {
        let long = vec![b'x'; 1234];
        let command = Command::new("SET")
            .arg("k\r\n")
            .arg(&long)
            .arg("")
            .arg(-100_i64)
            .arg(u64::MAX)
            .args(&["a", "b", "c", "d"]);
        let mut expected = redis::cmd("SET");
        expected.arg("k\r\n").arg(&long).arg("").arg(-100).arg(u64::MAX);
        expected.arg(&["a", "b", "c", "d"]);
        let expected = String::from_utf8(expected.get_packed_command()).unwrap();
        assert_eq!(written(Request::one(&command)), format!("before {expected}"));
        let packed = Command::packed("SET", expected.clone().into_bytes());
        assert_eq!(written(Request::one(&packed)), format!("before {expected}"));
        let two = Command::new("CLUSTER SLOTS");
        assert_eq!(
            written(Request::one(&two)),
            "before *2\r\n$7\r\nCLUSTER\r\n$5\r\nSLOTS\r\n"
        );
    }

    #[test]
    fn numbers_are_written_in_base_ten() {
        for number in [0, 9, 10, 1_234_567_890, u64::MAX] {
            assert_eq!(Decimal::unsigned(number).as_bytes(), number.to_string().as_bytes());
        }
        for number in [0, -1, i64::MIN, i64::MAX] {
            assert_eq!(Decimal::signed(number).as_bytes(), number.to_string().as_bytes());
        }
    }

    #[test]
    fn a_request_says_how_many_replies_it_has() {
        let commands = [Command::read("GET").arg("a"), Command::new("UNLINK").arg("b")];
        assert_eq!(Request::all(&commands).replies(), 2);
        assert_eq!(Request::transaction(&commands).replies(), 4);
        let picks = [
            Pick { at: 1, asking: true },
            Pick { at: 0, asking: false },
            Pick { at: 9, asking: true },
        ];
        let picked = Request::picked(&commands, &picks);
        assert_eq!(picked.replies(), 3);
        assert_eq!(
            written(picked),
            "before *1\r\n$6\r\nASKING\r\n*2\r\n$6\r\nUNLINK\r\n$1\r\nb\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\n"
        );
        assert!(Request::one(&commands[0]).is_read() && !Request::all(&commands).is_read());
        assert!(Request::all(&commands).runs_in_parts() && !Request::transaction(&commands).runs_in_parts());
    }

    #[test]
    fn a_buffer_with_a_secret_is_allocated_once() {
        let password = "p".repeat(1000);
        let commands = [
            Command::new("AUTH").arg("user").arg(&password).secret(),
            Command::new("PING"),
        ];
        let mut out = Vec::new();
        let request = Request::all(&commands);
        assert!(request.is_secret());
        let mut room = Vec::new();
        request.write(&mut room);
        out.reserve(request.size() + 2 * FRAME * (INLINE + 1));
        let before = out.as_ptr();
        request.write(&mut out);
        assert_eq!(out.as_ptr(), before);
    }
}
