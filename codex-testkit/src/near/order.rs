//! A partial order of the states of one key.

/// The pairs of states whose first state is certainly older, closed under transitivity.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    older: Vec<Vec<bool>>,
}

impl Order {
    pub(crate) fn new(states: usize) -> Self {
        Self {
            older: vec![vec![false; states]; states],
        }
    }

    /// Returns whether state `a` is certainly older than state `b`.
    pub(crate) fn is_older(&self, a: usize, b: usize) -> bool {
        self.older[a][b]
    }

    /// Records that `a` is older than `b`. Returns `false` and changes nothing if `b` is known to
    /// be older than `a`.
    #[must_use]
    pub(crate) fn note(&mut self, a: usize, b: usize) -> bool {
        if a == b || self.older[a][b] {
            return true;
        }
        if self.older[b][a] {
            return false;
        }
        let states = self.older.len();
        let above: Vec<usize> = (0..states).filter(|&x| x == a || self.older[x][a]).collect();
        let below: Vec<usize> = (0..states).filter(|&x| x == b || self.older[b][x]).collect();
        for &x in &above {
            for &y in &below {
                self.older[x][y] = true;
            }
        }
        true
    }
}
