//! The memory of a rate limit: when each key will have been replenished, in a table of a fixed size.
//!
//! Knows no rates and no clocks: the arithmetic is governor's, which keeps one number for each key here. Keys are random numbers
//! (keyed hashes), so nobody can choose whom they push out.
//!
//! A key has eight places where it can be. When all of them are taken, the one goes that will be replenished first, or has been
//! already: what is forgotten by that is the least that was known. So a flood of new keys pushes out each other, and not one that
//! has used up much; for that, as many keys as the table has places must have used up more.

use governor::nanos::Nanos;
use governor::state::StateStore;
use parking_lot::Mutex;

/// Places in which a key can be. Together they are two cache lines.
const WAYS: usize = 8;
/// Parts with a lock each, so that threads seldom meet.
const PARTS: usize = 64;

/// A key, and when it will have been replenished: nanoseconds since the table's time began. All zero: free, which is the same as
/// replenished for ever.
type Place = [u64; 2];
type Bucket = [Place; WAYS];

/// When keys will have been replenished.
#[derive(Debug)]
pub(super) struct Table {
    /// The buckets of a part come into being with the first key.
    parts: Vec<Mutex<Vec<Bucket>>>,
    buckets_per_part: usize,
}

impl Table {
    /// A table with room for this many keys, rounded up to a power of two. Takes no memory for them yet.
    pub(super) fn new(keys: usize) -> Table {
        let buckets = keys.div_ceil(WAYS).next_power_of_two();
        let parts = buckets.min(PARTS);
        Table {
            parts: (0..parts).map(|_| Mutex::new(Vec::new())).collect(),
            buckets_per_part: buckets / parts,
        }
    }

    /// Keys that will not have been replenished at `now`.
    pub(super) fn busy(&self, now: u64) -> usize {
        let busy = |part: &Mutex<Vec<Bucket>>| {
            let part = part.lock();
            let places = part.iter().flatten();
            places.filter(|[_, replenished]| *replenished > now).count()
        };
        self.parts.iter().map(busy).sum()
    }

    /// Bytes that its places take.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        let buckets = self.parts.iter().map(|part| part.lock().capacity());
        buckets.sum::<usize>() * size_of::<Bucket>()
    }

    /// Gives `look` the bucket of `key`.
    fn with_bucket<T>(&self, key: u64, look: impl FnOnce(&mut Bucket) -> T) -> Option<T> {
        // Both are powers of two, and taken from different bits.
        let (low, high) = ((key & 0xffff_ffff) as usize, (key >> 32) as usize);
        let part = self.parts.get(low % self.parts.len())?;
        let mut buckets = part.lock();
        if buckets.is_empty() {
            // Comes zeroed from the system, and takes room only where it is used.
            *buckets = vec![[[0; 2]; WAYS]; self.buckets_per_part];
        }
        buckets.get_mut(high % self.buckets_per_part).map(look)
    }
}

/// What governor keeps its numbers in. What is measured stays.
impl StateStore for &Table {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, key: &u64, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let replace = |bucket: &mut Bucket| match bucket.iter_mut().find(|[known, _]| known == key)
        {
            Some([_, replenished]) => {
                let (outcome, next) = measure(Some(Nanos::from(*replenished)))?;
                *replenished = next.as_u64();
                Ok(outcome)
            }
            None => {
                let (outcome, next) = measure(None)?;
                if let Some(place) = bucket
                    .iter_mut()
                    .min_by_key(|[_, replenished]| *replenished)
                {
                    *place = [*key, next.as_u64()];
                }
                Ok(outcome)
            }
        };
        self.with_bucket(*key, replace)
            .unwrap_or_else(|| measure(None).map(|(outcome, _)| outcome))
    }
}

/// The same for somebody who only asks: nothing is changed.
#[derive(Debug)]
pub(super) struct Unchanged<'a>(pub(super) &'a Table);

impl StateStore for Unchanged<'_> {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, key: &u64, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let known = self.0.with_bucket(*key, |bucket| {
            let known = bucket.iter().find(|[known, _]| known == key);
            known.map(|[_, replenished]| Nanos::from(*replenished))
        });
        measure(known.flatten()).map(|(outcome, _)| outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Notes that `key` will be replenished `at`; gives what was known of it.
    fn put(table: &Table, key: u64, at: u64) -> Option<u64> {
        let put = |known| Ok::<_, ()>((known, Nanos::from(at)));
        let known = StateStore::measure_and_replace(&table, &key, put);
        known.unwrap().map(Nanos::as_u64)
    }

    fn look(table: &Table, key: u64) -> Option<u64> {
        let known = Unchanged(table)
            .measure_and_replace(&key, |known| Ok::<_, ()>((known, Nanos::from(u64::MAX))));
        known.unwrap().map(Nanos::as_u64)
    }

    #[test]
    fn who_is_replenished_first_goes_first() {
        let table = Table::new(8);
        for key in 1..=8 {
            assert_eq!(put(&table, key, 100 + key), None);
        }
        assert_eq!((table.busy(100), table.busy(104)), (8, 4));
        assert_eq!(put(&table, 9, 200), None);
        assert_eq!((look(&table, 1), look(&table, 2)), (None, Some(102)));
        // Nothing changes what was only looked at, and what was refused.
        assert_eq!(look(&table, 2), Some(102));
        assert_eq!(
            StateStore::measure_and_replace(&&table, &77, |_| Err::<((), Nanos), _>(())),
            Err(())
        );
        assert_eq!(look(&table, 2), Some(102));
        assert_eq!(put(&table, 2, 300), Some(102));
        assert_eq!(look(&table, 2), Some(300));
    }

    #[test]
    fn sizes_are_powers_of_two_and_memory_comes_with_use() {
        for (keys, room) in [
            (0, 8),
            (1, 8),
            (8, 8),
            (9, 16),
            (1000, 1024),
            (65_536, 65_536),
        ] {
            let table = Table::new(keys);
            assert_eq!(
                table.parts.len() * table.buckets_per_part * WAYS,
                room,
                "{keys}"
            );
            assert_eq!(table.bytes(), 0);
        }
        let table = Table::new(65_536);
        put(&table, 0, 1);
        assert_eq!(table.bytes(), 65_536 * 16 / PARTS);
    }

    #[test]
    fn no_pattern_of_keys_leaves_the_table() {
        let table = Table::new(512);
        let patterns = [
            0,
            1,
            u64::MAX,
            1 << 63,
            1 << 32,
            (1 << 32) - 1,
            0x5555_5555_5555_5555,
        ];
        for shift in 0..64 {
            for pattern in patterns {
                let key: u64 = pattern << shift;
                put(&table, key, u64::MAX);
                assert!(look(&table, key).is_some() || key == 0, "{key:x}");
            }
        }
        assert!(table.busy(0) <= 512 && table.bytes() <= 512 * 16);
    }
}
