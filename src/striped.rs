//! Counters that many threads increment and few threads read.

use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

const STRIPES: usize = 16;

/// Striped counters, so that calls on different threads do not write to the same cache line.
#[derive(Debug)]
pub(crate) struct Striped<const COUNTERS: usize>([Stripe<COUNTERS>; STRIPES]);

/// A stripe of two cache lines, because processors fetch them in pairs.
#[derive(Debug)]
#[repr(align(128))]
struct Stripe<const COUNTERS: usize>([AtomicU64; COUNTERS]);

impl<const COUNTERS: usize> Striped<COUNTERS> {
    #[inline]
    pub(crate) fn add(&self, counter: usize, count: u64) {
        let Stripe(counters) = &self.0[stripe()];
        // `Relaxed` suffices: no other data depends on the counters.
        counters[counter].fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn sum(&self, counter: usize) -> u64 {
        let counts = self.0.iter().map(|Stripe(counters)| &counters[counter]);
        counts.fold(0, |sum, count| sum.wrapping_add(count.load(Ordering::Relaxed)))
    }
}

impl<const COUNTERS: usize> Default for Striped<COUNTERS> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| {
            Stripe(std::array::from_fn(|_| AtomicU64::new(0)))
        }))
    }
}

/// Returns the stripe of this thread.
#[inline]
fn stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static STRIPE: Cell<usize> = const { Cell::new(STRIPES) };
    }
    // A thread that is ending uses the first stripe.
    let stripe = STRIPE.try_with(|own| {
        if own.get() == STRIPES {
            own.set(NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES);
        }
        own.get()
    });
    stripe.unwrap_or(0) % STRIPES
}
