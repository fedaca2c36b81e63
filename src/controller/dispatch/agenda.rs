//! What is to come for each policy: the decisions of the dispatcher, which waits for nothing.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::hash::Hash;

use crate::controller::watched::class::Class;

/// A request for the right to a turn. A grant of an older one is of no use any more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Ask {
    pub(super) class: Class,
    pub(super) number: u64,
}

/// For each policy with something to come: whether it waits for a turn, has one, or rests until a time.
#[derive(Debug)]
pub(super) struct Agenda<K, T> {
    entries: HashMap<K, Standing<T>>,
    last: u64,
}

#[derive(Debug)]
enum Standing<T> {
    /// With the timer that makes it due, if there is one.
    Asked(Ask, Option<T>),
    /// With what happened since the turn began.
    InTurn(Option<Class>),
    /// Until this timer fires, and what it asks for then.
    Resting(T, Class),
}

impl<K, T> Default for Agenda<K, T> {
    fn default() -> Self {
        Self { entries: HashMap::new(), last: 0 }
    }
}

impl<K: Clone + Eq + Hash, T> Agenda<K, T> {
    /// Something happened. What is to be asked for, and the timer that is of no use any more.
    pub(super) fn trigger(&mut self, policy: &K, class: Class) -> (Option<Ask>, Option<T>) {
        let timer = match self.entries.get_mut(policy) {
            Some(Standing::InTurn(again)) => {
                *again = (*again).max(Some(class));
                return (None, None);
            }
            Some(Standing::Asked(asked, _)) if asked.class >= class => return (None, None),
            Some(Standing::Asked(..)) | None => None,
            Some(Standing::Resting(..)) => match self.entries.remove(policy) {
                Some(Standing::Resting(timer, _)) => Some(timer),
                _ => None,
            },
        };
        (Some(self.ask(policy, class)), timer)
    }

    /// The timer of a policy has fired: of one that rests, or of one that waits in a line for less.
    pub(super) fn rested(&mut self, policy: &K) -> Option<Ask> {
        let class = match self.entries.get_mut(policy) {
            Some(Standing::Resting(_, class)) => *class,
            Some(Standing::Asked(asked, timer)) => {
                *timer = None;
                Some(Class::Due).filter(|due| asked.class < *due)?
            }
            Some(Standing::InTurn(_)) | None => return None,
        };
        Some(self.ask(policy, class))
    }

    fn ask(&mut self, policy: &K, class: Class) -> Ask {
        self.last += 1;
        let ask = Ask { class, number: self.last };
        let timer = match self.entries.remove(policy) {
            Some(Standing::Asked(_, timer)) => timer,
            _ => None,
        };
        self.entries.insert(policy.clone(), Standing::Asked(ask, timer));
        ask
    }

    /// Whatever a policy that has asked waits for, it is due when this timer fires.
    pub(super) fn due_when(&mut self, policy: &K, fires: T) {
        if let Some(Standing::Asked(_, timer)) = self.entries.get_mut(policy) {
            *timer = Some(fires);
        }
    }

    /// The right to a turn was granted. Whether it begins, and the timer that is of no use any more.
    pub(super) fn granted(&mut self, policy: &K, ask: Ask) -> (bool, Option<T>) {
        match self.entries.get_mut(policy) {
            Some(Standing::Asked(asked, timer)) if *asked == ask => {
                let timer = timer.take();
                self.entries.insert(policy.clone(), Standing::InTurn(None));
                (true, timer)
            }
            _ => (false, None),
        }
    }

    /// A turn ended. What is to be asked for, if something happened meanwhile; else the policy may rest.
    pub(super) fn ended(&mut self, policy: &K) -> Option<Ask> {
        let Slot::Occupied(entry) = self.entries.entry(policy.clone()) else { return None };
        match entry.remove() {
            Standing::InTurn(Some(class)) => Some(self.ask(policy, class)),
            Standing::InTurn(None) | Standing::Asked(..) | Standing::Resting(..) => None,
        }
    }

    /// It rests until this timer fires, and asks for this then.
    pub(super) fn rest(&mut self, policy: K, timer: T, class: Class) {
        self.entries.insert(policy, Standing::Resting(timer, class));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Operation {
        Trigger(u8, Class),
        /// The oldest or the newest question is answered.
        Grant {
            oldest: bool,
        },
        /// The turn ends, and the policy is to rest or not.
        End(u8, Option<Class>),
        /// The policy's timer fires; another one runs until it is due, or not.
        Fire(u8, bool),
    }

    fn operation() -> impl Strategy<Value = Operation> {
        let class = prop_oneof![Just(Class::Look), Just(Class::Housekeeping), Just(Class::Due)];
        let policy = 0_u8..4;
        prop_oneof![
            3 => (policy.clone(), class.clone()).prop_map(|(policy, class)| Operation::Trigger(policy, class)),
            3 => any::<bool>().prop_map(|oldest| Operation::Grant { oldest }),
            3 => (policy.clone(), prop::option::of(class)).prop_map(|(policy, rests)| Operation::End(policy, rests)),
            1 => (policy, any::<bool>()).prop_map(|(policy, again)| Operation::Fire(policy, again)),
        ]
    }

    /// Independent books: a policy is owed a turn if it was triggered after its last turn began.
    #[derive(Default)]
    struct Books {
        owed: BTreeSet<u8>,
        in_turn: BTreeSet<u8>,
        timers: BTreeSet<u8>,
        asked: Vec<(u8, Ask)>,
    }

    proptest! {
        #[test]
        fn whoever_is_triggered_has_a_turn_and_never_two_at_once(operations in vec(operation(), 1..200)) {
            let mut agenda = Agenda::<u8, u8>::default();
            let mut books = Books::default();
            let ends: Vec<_> = (0..4).map(|policy| Operation::End(policy, None)).collect();
            let grants = vec![Operation::Grant { oldest: true }; 400];
            // At last every turn ends and every question is answered.
            let rest = [&ends[..], &grants, &ends, &grants, &ends].concat();
            for operation in operations.into_iter().chain(rest) {
                match operation {
                    Operation::Trigger(policy, class) => {
                        books.owed.insert(policy);
                        let is_resting = matches!(agenda.entries.get(&policy), Some(Standing::Resting(..)));
                        let (ask, timer) = agenda.trigger(&policy, class);
                        prop_assert_eq!(timer.is_some(), is_resting && books.timers.remove(&policy));
                        books.asked.extend(ask.map(|ask| (policy, ask)));
                    }
                    Operation::Grant { oldest } if !books.asked.is_empty() => {
                        let at = if oldest { 0 } else { books.asked.len() - 1 };
                        let (policy, ask) = books.asked.remove(at);
                        let (begins, timer) = agenda.granted(&policy, ask);
                        if begins {
                            prop_assert_eq!(timer.is_some(), books.timers.remove(&policy), "no timer is left");
                            prop_assert!(books.in_turn.insert(policy), "two turns at once");
                            books.owed.remove(&policy);
                        }
                    }
                    Operation::End(policy, rests) if books.in_turn.remove(&policy) => {
                        let ask = agenda.ended(&policy);
                        prop_assert_eq!(ask.is_some(), books.owed.contains(&policy));
                        books.asked.extend(ask.map(|ask| (policy, ask)));
                        if let (None, Some(class)) = (ask, rests) {
                            books.timers.insert(policy);
                            agenda.rest(policy, policy, class);
                        }
                    }
                    Operation::Fire(policy, again) if books.timers.remove(&policy) => {
                        let was_asked = books.owed.contains(&policy);
                        let ask = agenda.rested(&policy);
                        prop_assert!(ask.is_some() || was_asked);
                        books.owed.insert(policy);
                        books.asked.extend(ask.map(|ask| (policy, ask)));
                        if again && ask.is_some_and(|ask| ask.class < Class::Due) {
                            books.timers.insert(policy);
                            agenda.due_when(&policy, policy);
                        }
                    }
                    Operation::Grant { .. } | Operation::End(..) | Operation::Fire(..) => {}
                }
            }
            prop_assert!(books.owed.is_empty(), "never had a turn: {:?}", books.owed);
            prop_assert_eq!(agenda.entries.len(), books.timers.len(), "what nothing is to come of is forgotten");
        }
    }

    #[test]
    fn what_is_due_does_not_wait_as_housekeeping() {
        let mut agenda = Agenda::<u8, ()>::default();
        let first = agenda.trigger(&1, Class::Housekeeping).0.unwrap();
        let second = agenda.trigger(&1, Class::Due).0.unwrap();
        assert_eq!(agenda.trigger(&1, Class::Housekeeping), (None, None), "it is asked for already");
        assert_eq!((agenda.granted(&1, first), agenda.granted(&1, second)), ((false, None), (true, None)));
    }

    #[test]
    fn what_waits_in_line_for_a_look_is_due_when_its_time_comes() {
        let mut agenda = Agenda::<u8, ()>::default();
        agenda.rest(1, (), Class::Look);
        let look = agenda.rested(&1).unwrap();
        agenda.due_when(&1, ());
        let due = agenda.rested(&1).unwrap();
        assert_eq!((look.class, due.class), (Class::Look, Class::Due));
        assert_eq!((agenda.granted(&1, look), agenda.granted(&1, due)), ((false, None), (true, None)));
        agenda.rest(2, (), Class::Look);
        let look = agenda.rested(&2).unwrap();
        agenda.due_when(&2, ());
        assert_eq!(agenda.granted(&2, look), (true, Some(())), "its turn takes care of that itself");
    }
}
