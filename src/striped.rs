//! Counters that many threads increment and few threads read.

use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

/// The number of stripes that each belong to one thread.
const OWNED: usize = 16;

/// The number of stripes that are shared by the threads without their own stripe.
const SHARED: usize = 8;

/// Striped counters, so that calls on different threads do not write to the same cache line.
#[derive(Debug)]
pub(crate) struct Striped<const COUNTERS: usize>([Stripe<COUNTERS>; OWNED + SHARED]);

/// A stripe of two cache lines, because processors fetch them in pairs.
#[derive(Debug)]
#[repr(align(128))]
struct Stripe<const COUNTERS: usize>([AtomicU64; COUNTERS]);

impl<const COUNTERS: usize> Striped<COUNTERS> {
    #[inline]
    pub(crate) fn add(&self, counter: usize, count: u64) {
        let stripe = stripe();
        let counter = &self.0[stripe].0[counter];
        // `Relaxed` suffices: no other data depends on the counters.
        if stripe < OWNED {
            // No other thread writes here. An atomic addition would take a tenth of the time of a
            // cache hit.
            let before = counter.load(Ordering::Relaxed);
            counter.store(before.wrapping_add(count), Ordering::Relaxed);
        } else {
            counter.fetch_add(count, Ordering::Relaxed);
        }
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

/// The stripe of a thread, in all counters.
struct Claim(Cell<usize>);

/// The value of a claim that has no stripe yet.
const UNCLAIMED: usize = OWNED + SHARED;

/// A bit for each of the first [`OWNED`] stripes that belongs to a thread.
static TAKEN: AtomicUsize = AtomicUsize::new(0);

/// Returns the stripe of this thread.
#[inline]
fn stripe() -> usize {
    thread_local! {
        static CLAIM: Claim = const { Claim(Cell::new(UNCLAIMED)) };
    }
    let stripe = CLAIM.try_with(|Claim(stripe)| {
        if stripe.get() == UNCLAIMED {
            stripe.set(claim());
        }
        stripe.get()
    });
    // A thread that is ending may already have released its stripe.
    stripe.unwrap_or(OWNED)
}

/// Claims a free stripe, or chooses a shared stripe if none is free.
#[cold]
fn claim() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let mut taken = TAKEN.load(Ordering::Relaxed);
    loop {
        let free = taken.trailing_ones() as usize;
        if free >= OWNED {
            return OWNED + NEXT.fetch_add(1, Ordering::Relaxed) % SHARED;
        }
        // `Acquire` here and `Release` below, so that this thread sees all additions of the last
        // owner.
        match TAKEN.compare_exchange_weak(taken, taken | 1 << free, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => return free,
            Err(other) => taken = other,
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let stripe = self.0.get();
        if stripe < OWNED {
            TAKEN.fetch_and(!(1 << stripe), Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn nothing_is_lost_with_more_threads_than_stripes() {
        let counters = Striped::<2>::default();
        // The second round of threads reuses the stripes of the first.
        for _ in 0..2 {
            thread::scope(|scope| {
                for _ in 0..3 * (OWNED + SHARED) {
                    scope.spawn(|| {
                        for _ in 0..1000 {
                            counters.add(1, 1);
                        }
                    });
                }
            });
        }
        assert_eq!((counters.sum(0), counters.sum(1)), (0, 6000 * (OWNED + SHARED) as u64));
    }

    #[test]
    fn an_ended_thread_gives_its_stripe_back() {
        // Far more threads than stripes, because other tests may briefly hold all of them.
        let mut one_by_one = (0..10_000).map(|_| thread::spawn(stripe).join().unwrap());
        assert!(one_by_one.by_ref().take(5000).any(|stripe| stripe < OWNED));
        assert!(one_by_one.any(|stripe| stripe < OWNED));
        assert!(TAKEN.load(Ordering::Relaxed) < 1 << OWNED);
    }
}
