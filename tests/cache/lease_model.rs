//! A model of the lease protocol: every interleaving of two loaders, a deleter, a setter, expiry
//! and a crash.
//!
//! A step of the model is a request to the store, or a local action of a process. The database
//! holds a version. The deleter and the setter increment it before they change the key. A loader
//! computes the version that it reads.

use stateright::{Checker as _, Model, Property};

/// A rule of the protocol, which a model can omit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Guard {
    /// A fill replaces exactly the loader's own claim.
    FillComparesTheClaim,
    /// A claim is made only if nothing has changed since the read.
    ClaimComparesTheRead,
    /// No two claims are equal.
    TokensAreUnique,
    /// A claim with an expired lease is taken over, and a placeholder expires with its lease.
    LeasesPass,
    /// A holder checks its claim's age before it fills.
    FillLooksAtTheAge,
}

const GUARDS: [Guard; 5] = [
    Guard::FillComparesTheClaim,
    Guard::ClaimComparesTheRead,
    Guard::TokensAreUnique,
    Guard::LeasesPass,
    Guard::FillLooksAtTheAge,
];

struct Leases {
    without: Option<Guard>,
}

type Version = u8;
type Token = u8;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Stored {
    Absent,
    Fresh(Version),
    Stale(Version),
    Placeholder(Token),
    Leased(Version, Token),
}

impl Stored {
    fn token(self) -> Option<Token> {
        match self {
            Self::Placeholder(token) | Self::Leased(_, token) => Some(token),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Loader {
    Reads,
    /// It has read this and will claim.
    Claims(Stored, Token),
    /// It will read the database.
    Holds(Stored, Token),
    Computed(Stored, Token, Version),
    /// It has checked whether its claim has expired. The flag is the result.
    Fills(Stored, Token, Version, bool),
    /// It waits for another process's claim.
    Waits(Token),
    Done,
    Crashed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Writer {
    Begins,
    /// It has changed the database to this version and will write.
    Changed(Version),
    Done,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    database: Version,
    stored: Stored,
    /// Whether the lease of the stored claim has expired.
    passed: bool,
    next_token: Token,
    loaders: [Loader; 2],
    deleter: Writer,
    setter: Writer,
    may_crash: bool,
    may_expire: bool,
    /// The newest version with an acknowledged delete or set.
    answered: Version,
    faults: Faults,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Faults {
    stored_outdated: bool,
    stole_a_live_claim: bool,
    filled_after_the_lease: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    Loader(usize),
    Crash(usize),
    Deleter,
    Setter,
    LeasePasses,
    /// The value expires or is evicted.
    Ends,
}

impl Leases {
    fn has(&self, guard: Guard) -> bool {
        self.without != Some(guard)
    }

    fn token(&self, state: &mut State) -> Token {
        if self.has(Guard::TokensAreUnique) {
            state.next_token += 1;
        }
        state.next_token
    }

    fn read(&self, state: &mut State) -> Loader {
        match state.stored {
            Stored::Fresh(_) => Loader::Done,
            Stored::Placeholder(token) if !state.passed => Loader::Waits(token),
            // The stale value is returned, and another process refreshes it.
            Stored::Leased(..) if !state.passed => Loader::Done,
            found => {
                let token = self.token(state);
                Loader::Claims(found, token)
            }
        }
    }

    fn step(&self, state: &mut State, at: usize) {
        state.loaders[at] = match state.loaders[at] {
            Loader::Reads | Loader::Waits(_) => self.read(state),
            Loader::Claims(found, token) => {
                if self.has(Guard::ClaimComparesTheRead) && state.stored != found {
                    Loader::Reads
                } else {
                    let is_live = state.stored.token().is_some() && !state.passed;
                    state.faults.stole_a_live_claim |= is_live;
                    let claim = match found {
                        Stored::Stale(version) | Stored::Leased(version, _) => Stored::Leased(version, token),
                        _ => Stored::Placeholder(token),
                    };
                    state.stored = claim;
                    state.passed = false;
                    Loader::Holds(claim, token)
                }
            }
            Loader::Holds(claim, token) => Loader::Computed(claim, token, state.database),
            Loader::Computed(claim, token, version) => {
                let has_passed = state.stored == claim && state.passed;
                if has_passed && self.has(Guard::FillLooksAtTheAge) {
                    Loader::Done
                } else {
                    Loader::Fills(claim, token, version, has_passed)
                }
            }
            Loader::Fills(claim, _, version, had_passed) => {
                if !self.has(Guard::FillComparesTheClaim) || state.stored == claim {
                    state.faults.stored_outdated |= version < state.answered;
                    state.faults.filled_after_the_lease |= had_passed;
                    state.stored = Stored::Fresh(version);
                    state.passed = false;
                }
                Loader::Done
            }
            ended @ (Loader::Done | Loader::Crashed) => ended,
        };
    }

    fn write(state: &mut State, writer: Writer, stored: fn(Version) -> Stored) -> Writer {
        match writer {
            Writer::Begins => {
                state.database += 1;
                Writer::Changed(state.database)
            }
            Writer::Changed(version) => {
                state.stored = stored(version);
                state.passed = false;
                state.answered = state.answered.max(version);
                Writer::Done
            }
            Writer::Done => Writer::Done,
        }
    }
}

impl Model for Leases {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let found = [Stored::Absent, Stored::Stale(0)];
        let states = found.map(|stored| State {
            database: 0,
            stored,
            passed: false,
            next_token: 0,
            loaders: [Loader::Reads; 2],
            deleter: Writer::Begins,
            setter: Writer::Begins,
            may_crash: true,
            may_expire: true,
            answered: 0,
            faults: Faults::default(),
        });
        states.to_vec()
    }

    fn actions(&self, state: &State, actions: &mut Vec<Step>) {
        for (at, loader) in state.loaders.iter().enumerate() {
            let can_move = match loader {
                Loader::Done | Loader::Crashed => false,
                // Reading an unchanged state again is not a step.
                Loader::Waits(token) => state.stored != Stored::Placeholder(*token) || state.passed,
                _ => true,
            };
            if can_move {
                actions.push(Step::Loader(at));
            }
            if state.may_crash && !matches!(loader, Loader::Done | Loader::Crashed) {
                actions.push(Step::Crash(at));
            }
        }
        if state.deleter != Writer::Done {
            actions.push(Step::Deleter);
        }
        if state.setter != Writer::Done {
            actions.push(Step::Setter);
        }
        if self.has(Guard::LeasesPass) && state.stored.token().is_some() && !state.passed {
            actions.push(Step::LeasePasses);
        }
        if state.may_expire && state.stored != Stored::Absent {
            actions.push(Step::Ends);
        }
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut state = last.clone();
        match step {
            Step::Loader(at) => self.step(&mut state, at),
            Step::Crash(at) => {
                state.loaders[at] = Loader::Crashed;
                state.may_crash = false;
            }
            Step::Deleter => state.deleter = Self::write(&mut state, last.deleter, |_| Stored::Absent),
            Step::Setter => state.setter = Self::write(&mut state, last.setter, Stored::Fresh),
            // The time to live of a placeholder is its lease.
            Step::LeasePasses if matches!(state.stored, Stored::Placeholder(_)) => state.stored = Stored::Absent,
            Step::LeasePasses => state.passed = true,
            Step::Ends => {
                state.stored = Stored::Absent;
                state.passed = false;
                state.may_expire = false;
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("nothing outdated is stored", |_, state: &State| {
                !state.faults.stored_outdated
            }),
            Property::always("a live claim is nobody else's", |_, state: &State| {
                !state.faults.stole_a_live_claim
            }),
            Property::always("a holder whose lease has passed stores nothing", |_, state: &State| {
                !state.faults.filled_after_the_lease
            }),
            Property::always("nobody waits for ever", |model: &Self, state: &State| {
                let mut actions = Vec::new();
                model.actions(state, &mut actions);
                let is_stuck = |loader: &Loader| matches!(loader, Loader::Waits(_));
                !(actions.is_empty() && state.loaders.iter().any(is_stuck))
            }),
            // A model without steps would prove nothing.
            Property::sometimes("a value is filled under a lease", |_, state: &State| {
                state.stored == Stored::Fresh(0) && state.loaders.contains(&Loader::Done)
            }),
            Property::sometimes("a claim is taken over", |_, state: &State| {
                let holds = |loader: &Loader| matches!(loader, Loader::Holds(..) | Loader::Computed(..));
                state.loaders.iter().all(holds)
            }),
            Property::sometimes("another loader waits", |_, state: &State| {
                state.loaders.iter().any(|loader| matches!(loader, Loader::Waits(_)))
            }),
        ]
    }
}

#[test]
fn load_07_every_interleaving_of_the_protocol_keeps_its_promises() {
    let checked = Leases { without: None }.checker().spawn_bfs().join();
    checked.assert_properties();
    println!("{} states", checked.unique_state_count());
    assert!(
        checked.unique_state_count() > 5_000,
        "{} states",
        checked.unique_state_count()
    );
}

#[test]
fn load_07_without_any_one_guard_the_fault_is_found() {
    for guard in GUARDS {
        let checked = Leases { without: Some(guard) }.checker().spawn_bfs().join();
        let expected = match guard {
            Guard::FillComparesTheClaim | Guard::TokensAreUnique => "nothing outdated is stored",
            Guard::ClaimComparesTheRead => "a live claim is nobody else's",
            Guard::LeasesPass => "nobody waits for ever",
            Guard::FillLooksAtTheAge => "a holder whose lease has passed stores nothing",
        };
        assert!(
            checked.discovery(expected).is_some(),
            "without {guard:?} the model finds nothing"
        );
    }
}
