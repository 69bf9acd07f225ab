//! Bounds a command's output: the beginning is sent as it comes, the end is held until the command has ended,
//! and the bytes between them are counted.

use std::collections::VecDeque;

/// Most bytes of one command's output, whatever is requested: the tail is held in memory.
const KEPT_BYTES_MAX: u64 = 64 << 20;

/// The head and the tail of one command's output.
pub struct HeadAndTail {
    head_left: usize,
    tail_max: usize,
    tail: VecDeque<u8>,
    omitted: u64,
}

impl HeadAndTail {
    /// Keeps `bytes_max` bytes, half of them for the end.
    pub fn new(bytes_max: u64) -> Self {
        let bytes_max = bytes_max.min(KEPT_BYTES_MAX) as usize;
        let tail_max = bytes_max / 2;
        Self { head_left: bytes_max - tail_max, tail_max, tail: VecDeque::new(), omitted: 0 }
    }

    /// Adds a chunk, and returns the part of it that belongs to the head.
    pub fn take<'a>(&mut self, chunk: &'a [u8]) -> &'a [u8] {
        let (head, rest) = chunk.split_at(self.head_left.min(chunk.len()));
        self.head_left -= head.len();
        let skipped = rest.len().saturating_sub(self.tail_max);
        let room = self.tail_max - (rest.len() - skipped);
        let pushed_out = self.tail.len().saturating_sub(room);
        self.tail.drain(..pushed_out);
        self.tail.extend(&rest[skipped..]);
        self.omitted += (skipped + pushed_out) as u64;
        head
    }

    /// The number of omitted bytes, and the tail.
    pub fn finish(self) -> (u64, Vec<u8>) {
        (self.omitted, self.tail.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(bytes_max: u64, chunks: &[&[u8]]) -> (Vec<u8>, u64, Vec<u8>) {
        let mut output = HeadAndTail::new(bytes_max);
        let head = chunks.iter().flat_map(|chunk| output.take(chunk).to_vec()).collect();
        let (omitted, tail) = output.finish();
        (head, omitted, tail)
    }

    #[test]
    fn head_and_tail_are_kept_and_the_middle_is_counted() {
        for chunks in [vec![&b"0123456789abcdef"[..]], b"0123456789abcdef".chunks(3).collect()] {
            assert_eq!(kept(6, &chunks), (b"012".to_vec(), 10, b"def".to_vec()));
            assert_eq!(kept(16, &chunks), (b"01234567".to_vec(), 0, b"89abcdef".to_vec()));
            assert_eq!(kept(1, &chunks), (b"0".to_vec(), 15, b"".to_vec()));
            assert_eq!(kept(0, &chunks), (b"".to_vec(), 16, b"".to_vec()));
        }
    }
}
