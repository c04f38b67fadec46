//! Which records of two lists belong together: the longest run that both share, then the same on either side of it, so that
//! one missing record does not make all later ones differ.

use std::collections::HashMap;
use std::hash::Hash;
use std::ops::Range;

/// A part of both lists: the same in both, or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    pub equal: bool,
    pub left: Range<usize>,
    pub right: Range<usize>,
}

/// Blocks that cover both lists in order.
pub(super) fn blocks<T: Eq + Hash>(left: &[T], right: &[T]) -> Vec<Block> {
    let mut places: HashMap<&T, Vec<usize>> = HashMap::new();
    for (at, item) in right.iter().enumerate() {
        places.entry(item).or_default().push(at);
    }
    let mut runs = Vec::new();
    let mut open = vec![(0..left.len(), 0..right.len())];
    while let Some((one, other)) = open.pop() {
        let (i, j, length) = longest_run(left, &places, one.clone(), other.clone());
        if length > 0 {
            runs.push((i, j, length));
            open.push((one.start..i, other.start..j));
            open.push((i + length..one.end, j + length..other.end));
        }
    }
    runs.sort_unstable();
    let mut blocks: Vec<Block> = Vec::new();
    let (mut i, mut j) = (0, 0);
    for (a, b, length) in runs.into_iter().chain([(left.len(), right.len(), 0)]) {
        if i < a || j < b {
            blocks.push(Block { equal: false, left: i..a, right: j..b });
        }
        match blocks.last_mut() {
            // Two runs that touch are one.
            Some(last) if last.equal => (last.left.end, last.right.end) = (a + length, b + length),
            _ if length > 0 => blocks.push(Block { equal: true, left: a..a + length, right: b..b + length }),
            _ => {}
        }
        (i, j) = (a + length, b + length);
    }
    blocks
}

/// The longest run that both ranges share; the first one of several.
fn longest_run<T: Eq + Hash>(
    left: &[T],
    places: &HashMap<&T, Vec<usize>>,
    one: Range<usize>,
    other: Range<usize>,
) -> (usize, usize, usize) {
    let mut best = (one.start, other.start, 0);
    // Length of the run that ends at each place of the right list, for the item before.
    let mut lengths: HashMap<usize, usize> = HashMap::new();
    for i in one {
        let mut next = HashMap::new();
        for &j in places.get(&left[i]).into_iter().flatten().filter(|j| other.contains(j)) {
            let length = 1 + j.checked_sub(1).and_then(|before| lengths.get(&before)).unwrap_or(&0);
            next.insert(j, length);
            if length > best.2 {
                best = (i + 1 - length, j + 1 - length, length);
            }
        }
        lengths = next;
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(left: &str, right: &str) -> String {
        let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
        let one = |block: Block| {
            let text = |list: &[char], range: Range<usize>| list[range].iter().collect::<String>();
            let mark = if block.equal { "=" } else { "/" };
            format!("{}{mark}{}", text(&left, block.left), text(&right, block.right))
        };
        blocks(&left, &right).into_iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn one_missing_item_does_not_move_the_others() {
        for (left, right, expected) in [
            ("abcde", "abcde", "abcde=abcde"),
            ("abcde", "abde", "ab=ab c/ de=de"),
            ("abde", "abcde", "ab=ab /c de=de"),
            ("abcde", "abxde", "ab=ab c/x de=de"),
            ("abc", "", "abc/"),
            ("", "", ""),
            ("aab", "ab", "a/ ab=ab"),
            ("abxcd", "cdxab", "/cdx ab=ab xcd/"),
        ] {
            assert_eq!(shown(left, right), expected, "{left} {right}");
        }
    }
}
