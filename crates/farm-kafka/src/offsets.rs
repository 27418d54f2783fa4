//! Which offsets may be committed: never one above a record that is still in somebody's hands.

use std::collections::{BTreeMap, BTreeSet};

/// A topic and a partition of it.
pub(crate) type Place = (String, i32);

/// The partitions that we own, and how far each is done.
///
/// Several records of a partition are under way at once and are done in any order. The offset that is committed is
/// the lowest one not done, so that a crash loses none of them (I1); what is above is delivered twice, which Begin
/// answers.
#[derive(Debug, Default)]
pub(crate) struct Offsets {
    partitions: BTreeMap<Place, Partition>,
}

#[derive(Debug, Default)]
struct Partition {
    /// Delivered and not done.
    open: BTreeSet<i64>,
    /// One above the last delivered offset; `None` before the first.
    next: Option<i64>,
    /// What the brokers know, or had been told before we came.
    committed: i64,
}

impl Partition {
    fn due(&self) -> Option<i64> {
        let due = self.open.first().copied().or(self.next)?;
        (due != self.committed).then_some(due)
    }
}

impl Offsets {
    pub(crate) fn assign(&mut self, place: Place) {
        self.partitions.insert(place, Partition::default());
    }

    pub(crate) fn revoke(&mut self, place: &Place) {
        self.partitions.remove(place);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }

    /// Notes a delivered record; false if its partition is not ours, and the record must not be used.
    pub(crate) fn deliver(&mut self, place: &Place, offset: i64) -> bool {
        let Some(partition) = self.partitions.get_mut(place) else { return false };
        if partition.next.is_none() {
            partition.committed = offset;
        }
        partition.open.insert(offset);
        partition.next = Some(offset + 1);
        true
    }

    /// Notes that a record is in safety. One of a partition that was lost meanwhile is its new owner's matter.
    pub(crate) fn done(&mut self, place: &Place, offset: i64) {
        if let Some(partition) = self.partitions.get_mut(place) {
            partition.open.remove(&offset);
        }
    }

    /// Returns what is to be committed now.
    pub(crate) fn due(&self) -> Vec<(Place, i64)> {
        self.partitions.iter().filter_map(|(place, p)| Some((place.clone(), p.due()?))).collect()
    }

    /// Notes what the brokers have accepted.
    pub(crate) fn committed(&mut self, accepted: &[(Place, i64)]) {
        for (place, offset) in accepted {
            if let Some(partition) = self.partitions.get_mut(place) {
                partition.committed = *offset;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place() -> Place {
        ("tasks".to_owned(), 0)
    }

    fn owning(offsets: std::ops::Range<i64>) -> Offsets {
        let mut all = Offsets::default();
        all.assign(place());
        for offset in offsets {
            assert!(all.deliver(&place(), offset));
        }
        all
    }

    #[test]
    fn a_record_in_hand_holds_back_those_above_it() {
        let mut offsets = owning(5..8);
        assert_eq!(offsets.due(), [], "nothing is done");
        offsets.done(&place(), 6);
        assert_eq!(offsets.due(), [], "5 is not done");
        offsets.done(&place(), 5);
        assert_eq!(offsets.due(), [(place(), 7)]);
    }

    #[test]
    fn what_the_brokers_did_not_accept_stays_due() {
        let mut offsets = owning(0..2);
        offsets.done(&place(), 0);
        assert_eq!(offsets.due(), [(place(), 1)]);
        offsets.done(&place(), 1);
        assert_eq!(offsets.due(), [(place(), 2)]);
        offsets.committed(&[(place(), 1)]);
        assert_eq!(offsets.due(), [(place(), 2)]);
        offsets.committed(&[(place(), 2)]);
        assert_eq!(offsets.due(), []);
    }

    #[test]
    fn a_lost_partition_is_neither_delivered_nor_committed() {
        let mut offsets = owning(0..1);
        offsets.revoke(&place());
        offsets.done(&place(), 0);
        assert_eq!(offsets.due(), []);
        assert!(!offsets.deliver(&place(), 1));
    }

    #[test]
    fn a_topic_that_was_made_anew_is_committed_from_its_new_start() {
        let mut offsets = owning(70..71);
        offsets.done(&place(), 70);
        offsets.committed(&[(place(), 71)]);
        assert!(offsets.deliver(&place(), 0));
        offsets.done(&place(), 0);
        assert_eq!(offsets.due(), [(place(), 1)]);
    }

    proptest! {
        #[test]
        fn no_commit_passes_a_record_in_hand(
            order in Just((0..40_i64).collect::<Vec<_>>()).prop_shuffle(),
            n_done in 0..40_usize,
        ) {
            let mut offsets = owning(0..40);
            let mut committed = 0;
            for offset in &order[..n_done] {
                offsets.done(&place(), *offset);
                for (place, due) in offsets.due() {
                    prop_assert!(due > committed, "{due} after {committed}");
                    committed = due;
                    offsets.committed(&[(place, due)]);
                }
                let lowest_open = (0..40).find(|o| !order[..n_done].contains(o)).unwrap_or(40);
                prop_assert!(committed <= lowest_open);
            }
            let lowest_open = (0..40).find(|o| !order[..n_done].contains(o)).unwrap_or(40);
            prop_assert_eq!(committed, lowest_open);
        }
    }
}
