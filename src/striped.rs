//! Counters that many threads raise and few read.

use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

const STRIPES: usize = 16;

/// Counters in stripes, so that threads do not write to one cache line with every call.
#[derive(Debug)]
pub(crate) struct Striped<const COUNTERS: usize>([Stripe<COUNTERS>; STRIPES]);

/// Two cache lines, because processors fetch them in pairs.
#[derive(Debug)]
#[repr(align(128))]
struct Stripe<const COUNTERS: usize>([AtomicU64; COUNTERS]);

impl<const COUNTERS: usize> Striped<COUNTERS> {
    #[inline]
    pub(crate) fn add(&self, counter: usize, count: u64) {
        let Stripe(counters) = &self.0[stripe()];
        // `Relaxed` suffices: nothing else is read by these.
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
    // A thread that is ending counts with the first.
    let stripe = STRIPE.try_with(|own| {
        if own.get() == STRIPES {
            own.set(NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES);
        }
        own.get()
    });
    stripe.unwrap_or(0) % STRIPES
}
