//! What is sent, and what comes back for it.

use redis::{Cmd, Pipeline, Value, cmd};
use tokio::sync::oneshot;

use super::command_name::Named;
use crate::connection::failure::Lost;

/// Something to send in one piece.
pub(crate) trait Request: Named {
    /// What answers it.
    type Answer;

    /// Appends the bytes to send.
    fn write(&self, out: &mut Vec<u8>);

    /// About how many bytes those are.
    fn size(&self) -> usize;

    /// Whether it can have had an effect before its last byte arrived.
    const IN_PARTS: bool;

    /// Where the replies go, and where the answer comes from.
    fn channel(&self) -> (Sink, oneshot::Receiver<Result<Self::Answer, Lost>>);
}

/// Where the replies to one request go, one after another.
pub(crate) enum Sink {
    One(oneshot::Sender<Result<Value, Lost>>),
    Several {
        sender: oneshot::Sender<Result<Vec<Value>, Lost>>,
        replies: Vec<Value>,
        missing: usize,
    },
    /// Its caller has been told that it is too late. That many replies are still to be thrown away.
    Late(usize),
}

impl Sink {
    /// Takes the next reply and says whether it was the last. A caller who is gone does not get it, and nobody else does.
    pub(crate) fn take(&mut self, reply: Value) -> bool {
        match self {
            Self::One(_) => {}
            Self::Several { replies, missing, .. } => {
                replies.push(reply);
                *missing -= 1;
                if *missing == 0
                    && let Self::Several { sender, replies, .. } = std::mem::replace(self, Self::Late(0))
                {
                    let _ = sender.send(Ok(replies));
                    return true;
                }
                return false;
            }
            Self::Late(missing) => {
                *missing -= 1;
                return *missing == 0;
            }
        }
        if let Self::One(sender) = std::mem::replace(self, Self::Late(0)) {
            let _ = sender.send(Ok(reply));
        }
        true
    }

    /// Tells the caller that there will be no answer. The replies may come all the same.
    pub(crate) fn fail(&mut self, why: Lost) {
        let missing = match self {
            Self::One(_) => 1,
            Self::Several { missing, .. } | Self::Late(missing) => *missing,
        };
        match std::mem::replace(self, Self::Late(missing)) {
            Self::One(sender) => drop(sender.send(Err(why))),
            Self::Several { sender, .. } => drop(sender.send(Err(why))),
            Self::Late(_) => {}
        }
    }

    pub(crate) fn is_late(&self) -> bool {
        matches!(self, Self::Late(_))
    }
}

/// A command by its arguments, packed without being copied in between.
pub(crate) struct Arguments<'a>(pub(crate) &'a [&'a [u8]]);

impl Arguments<'_> {
    /// For who needs to keep it.
    pub(crate) fn to_command(&self) -> Cmd {
        let mut command = Cmd::with_capacity(self.0.len(), self.size());
        for argument in self.0 {
            command.arg(argument);
        }
        command
    }
}

impl Request for Arguments<'_> {
    type Answer = Value;

    const IN_PARTS: bool = false;

    fn write(&self, out: &mut Vec<u8>) {
        // What stands around an argument is at most 25 bytes long.
        out.reserve(self.size() + 25 * (self.0.len() + 1));
        out.push(b'*');
        out.extend_from_slice(Decimal::of(self.0.len() as u64).as_bytes());
        for argument in self.0 {
            out.extend_from_slice(b"\r\n$");
            out.extend_from_slice(Decimal::of(argument.len() as u64).as_bytes());
            out.extend_from_slice(b"\r\n");
            out.extend_from_slice(argument);
        }
        out.extend_from_slice(b"\r\n");
    }

    fn size(&self) -> usize {
        self.0.iter().map(|argument| argument.len()).sum()
    }

    fn channel(&self) -> (Sink, oneshot::Receiver<Result<Value, Lost>>) {
        let (sender, receiver) = oneshot::channel();
        (Sink::One(sender), receiver)
    }
}

/// A number as text, on the stack.
pub(crate) struct Decimal {
    digits: [u8; 20],
    start: usize,
}

impl Decimal {
    pub(crate) fn of(mut number: u64) -> Self {
        let mut digits = [0; 20];
        let mut start = digits.len();
        loop {
            start -= 1;
            digits[start] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return Self { digits, start };
            }
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.digits[self.start..]
    }
}

impl Request for Cmd {
    type Answer = Value;

    const IN_PARTS: bool = false;

    fn write(&self, out: &mut Vec<u8>) {
        self.write_packed_command(out);
    }

    fn size(&self) -> usize {
        let length = |argument| match argument {
            redis::Arg::Simple(bytes) => <[u8]>::len(bytes),
            _ => 0,
        };
        self.args_iter().map(length).sum()
    }

    fn channel(&self) -> (Sink, oneshot::Receiver<Result<Value, Lost>>) {
        let (sender, receiver) = oneshot::channel();
        (Sink::One(sender), receiver)
    }
}

/// Of a transaction, the replies to MULTI and to each queued command come before the one to EXEC, and all are in the answer.
impl Request for Pipeline {
    type Answer = Vec<Value>;

    const IN_PARTS: bool = true;

    fn write(&self, out: &mut Vec<u8>) {
        if self.is_transaction() {
            cmd("MULTI").write_packed_command(out);
        }
        for command in self.cmd_iter() {
            command.write_packed_command(out);
        }
        if self.is_transaction() {
            cmd("EXEC").write_packed_command(out);
        }
    }

    fn size(&self) -> usize {
        self.cmd_iter().map(Request::size).sum()
    }

    fn channel(&self) -> (Sink, oneshot::Receiver<Result<Vec<Value>, Lost>>) {
        let missing = if self.is_transaction() {
            self.len() + 2
        } else {
            self.len()
        };
        let (sender, receiver) = oneshot::channel();
        let sink = Sink::Several {
            sender,
            replies: Vec::with_capacity(missing),
            missing,
        };
        (sink, receiver)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_packed_as_a_command_is() {
        let long = vec![b'x'; 1234];
        for arguments in [&[&b"PING"[..]][..], &[b"SET", b"k\r\n", b"", &long, b"PX", b"100"]] {
            let (mut packed, arguments) = (b"before".to_vec(), Arguments(arguments));
            arguments.write(&mut packed);
            let mut expected = b"before".to_vec();
            expected.extend(arguments.to_command().get_packed_command());
            assert_eq!(packed, expected);
        }
        for number in [0, 9, 10, 1_234_567_890, u64::MAX] {
            assert_eq!(Decimal::of(number).as_bytes(), number.to_string().as_bytes());
        }
    }
}
