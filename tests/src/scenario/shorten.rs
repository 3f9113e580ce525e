//! Of a list that shows something, a part that suffices.

/// Of these, as few as show what `shows` looks for (delta debugging: Zeller and Hildebrandt, IEEE Transactions on Software
/// Engineering 28 (2), 2002): as many as possible are left out, halves first, in at most `max_tries` tries. `watch` is told
/// after each how many there were, and how many are left.
pub fn shorten<T: Clone>(
    mut kept: Vec<T>,
    max_tries: usize,
    watch: &mut dyn FnMut(usize, usize),
    shows: impl Fn(&[T]) -> bool,
) -> Vec<T> {
    let mut chunk = kept.len().div_ceil(2).max(1);
    let mut tries = 0;
    loop {
        let mut at = 0;
        let mut shrank = false;
        while at < kept.len() && tries < max_tries {
            let end = (at + chunk).min(kept.len());
            let without = [&kept[..at], &kept[end..]].concat();
            tries += 1;
            if shows(&without) {
                kept = without;
                shrank = true;
            } else {
                at = end;
            }
            watch(tries, kept.len());
        }
        if tries >= max_tries || (chunk == 1 && !shrank) {
            return kept;
        }
        if !shrank || chunk > kept.len() {
            chunk = (chunk / 2).max(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_suffices_is_found_and_told_of() {
        let mut told = Vec::new();
        let needs = |only: &[usize]| only.contains(&3) && only.contains(&17);
        let mut watch = |tries, left| told.push((tries, left));
        let found = shorten((0..40).collect(), 400, &mut watch, needs);
        assert_eq!(found, [3, 17]);
        assert!(told.iter().zip(1..).all(|((tries, _), n)| *tries == n));
        assert_eq!(told.last().map(|(_, left)| *left), Some(2));
    }

    #[test]
    fn no_more_is_tried_than_may_be() {
        let mut count = 0;
        shorten((0..1_000).collect(), 7, &mut |tries, _| count = tries, |only| only.len() > 990);
        assert_eq!(count, 7);
    }
}
