//! Execution of the same operations on the model and on a backend.

use std::{fmt, future::Future, time::Duration};

use codex_traits::{Pattern, Ttl};

use crate::{
    Answer, Harness, Model, Op,
    clock::{Clock, ttls_agree},
    failure::show,
};

/// Executes `operations` on the [`Model`] and on a fresh backend of `harness`, and compares each
/// answer. At the end it compares all remaining entries.
///
/// Errors are equal if their kinds are equal. Times to live may differ by a millisecond. In
/// [`Time::Real`](crate::Time::Real) they may also differ by the granularity and by the time that
/// the run has taken, and [`Op::Pass`] waits.
///
/// # Errors
///
/// The first answer that differs.
pub async fn replay<H: Harness>(harness: &H, operations: &[Op]) -> Result<(), Divergence> {
    let mut run = Run {
        backend: harness.fresh().await,
        model: Model::new(),
        clock: Clock::new(harness.time()),
        passed: Duration::ZERO,
        done: Vec::new(),
    };
    for op in operations {
        run.step(op.clone()).await?;
    }
    run.step(Op::scan(Pattern::all(), 1_000)).await?;
    for key in run.model.keys(&Pattern::all()) {
        run.step(Op::get(&key)).await?;
        run.step(Op::ttl(&key)).await?;
    }
    Ok(())
}

struct Run<B> {
    backend: B,
    model: Model,
    clock: Clock,
    passed: Duration,
    done: Vec<Op>,
}

impl<B: codex_traits::KvBackend> Run<B> {
    async fn step(&mut self, op: Op) -> Result<(), Divergence> {
        if let Op::Pass(duration) = op {
            self.clock.pass(duration).await;
            self.passed += duration;
        }
        let expected = op.apply(&mut self.model);
        let got = op.call(&self.backend).await;
        self.done.push(op);
        // A real clock has advanced on its own by this time. The model's clock has not.
        let slack = self.clock.now().saturating_sub(self.passed) + self.clock.tolerance();
        if agree(&expected, &got, slack) {
            return Ok(());
        }
        Err(Divergence(Box::new(Inner {
            operations: std::mem::take(&mut self.done),
            expected,
            got,
        })))
    }
}

pub(crate) fn agree(expected: &Answer, got: &Answer, slack: Duration) -> bool {
    let near = |expected: &Ttl, got: &Ttl| ttls_agree(*got, *expected, slack, slack);
    match (expected, got) {
        (Answer::Ttl(expected), Answer::Ttl(got)) => near(expected, got),
        (Answer::ValueWithTtl(Some((value, expected))), Answer::ValueWithTtl(Some((held, got)))) => {
            value == held && near(expected, got)
        }
        _ => expected == got,
    }
}

/// Removes the operations that `run` does not need to fail: first in large blocks, finally one by
/// one.
pub(crate) async fn shorten<F, Fut>(mut found: Divergence, run: &F) -> Divergence
where
    F: Fn(Vec<Op>) -> Fut + Sync,
    Fut: Future<Output = Result<(), Divergence>> + Send,
{
    let mut block = (found.operations().len() / 2).max(1);
    let mut at = 0;
    loop {
        let len = found.operations().len();
        if at >= len {
            if block == 1 {
                return found;
            }
            (block, at) = (block / 2, 0);
            continue;
        }
        let mut fewer = found.operations().to_vec();
        fewer.drain(at..len.min(at + block));
        match run(fewer).await {
            Err(shorter) if shorter.operations().len() < len => {
                found = shorter;
                // Calls that were needed before may now be superfluous.
                if block == 1 {
                    at = 0;
                }
            }
            _ => at += block,
        }
    }
}

/// A sequence of operations whose last operation a backend answers differently from the model.
///
/// Its `Display` and `Debug` print a test that can be pasted next to a function `harness` that
/// returns the harness.
#[derive(Clone, PartialEq, Eq)]
pub struct Divergence(Box<Inner>);

#[derive(Clone, PartialEq, Eq)]
struct Inner {
    operations: Vec<Op>,
    expected: Answer,
    got: Answer,
}

impl Divergence {
    /// Returns the operations, up to and including the call with the wrong answer.
    pub fn operations(&self) -> &[Op] {
        &self.0.operations
    }

    /// Returns the model's answer to the last operation.
    pub fn expected(&self) -> &Answer {
        &self.0.expected
    }

    /// Returns the backend's answer to the last operation.
    pub fn got(&self) -> &Answer {
        &self.0.got
    }
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use std::fmt::Write as _;
        let mut body = String::new();
        for op in &self.0.operations {
            writeln!(body, "        {op},")?;
        }
        // An unused import would cause a warning in the pasted test.
        let used = |names: &[&'static str]| -> Vec<&'static str> {
            let is_used = |name: &&&str| body.contains(&format!("{name}::"));
            names.iter().filter(is_used).copied().collect()
        };
        let traits = used(&["Condition", "Expiry", "OnMissing", "Pattern", "SetOptions"]);
        writeln!(f, "#[tokio::test]\nasync fn answers_as_the_model_does() {{")?;
        if !used(&["Bytes"]).is_empty() {
            writeln!(f, "    use bytes::Bytes;")?;
        }
        writeln!(f, "    use codex_testkit::Op;")?;
        match traits.as_slice() {
            [] => {}
            [one] => writeln!(f, "    use codex_traits::{one};")?,
            many => writeln!(f, "    use codex_traits::{{{}}};", many.join(", "))?,
        }
        if !used(&["Duration"]).is_empty() {
            writeln!(f, "    use std::time::Duration;")?;
        }
        writeln!(f, "    let operations = [\n{body}    ];")?;
        writeln!(f, "    // The model answers {},", show(&self.0.expected))?;
        writeln!(f, "    // the backend       {}.", show(&self.0.got))?;
        write!(
            f,
            "    codex_testkit::replay(&harness(), &operations).await.unwrap();\n}}"
        )
    }
}

// `unwrap` prints the `Debug` output, which therefore shows the test.
impl fmt::Debug for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the backend does not answer as the model does:\n\n{self}\n")
    }
}

impl std::error::Error for Divergence {}
