//! Suggestions for misspelled words.

/// The candidate that was probably meant, if any is near enough.
pub fn nearest<'c>(word: &str, candidates: &[&'c str]) -> Option<&'c str> {
    const EDITS_MAX: usize = 3;
    let lower = word.to_lowercase();
    let distance = |candidate: &&str| strsim::damerau_levenshtein(&lower, candidate);
    let best = candidates.iter().copied().min_by_key(distance)?;
    (distance(&best) <= EDITS_MAX.min(best.len() / 2)).then_some(best)
}
