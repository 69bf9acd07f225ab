//! Pkt-lines and side bands: the framing of git's protocol, in bytes.

use super::error::GitError;

/// The largest pkt-line, its length included (gitprotocol-common).
const PACKET_BYTES_MAX: usize = 65_520;
/// The largest payload of a side band's pkt-line: four bytes are the length and one is the band.
const BAND_BYTES_MAX: usize = PACKET_BYTES_MAX - 5;

/// One frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Packet<'a> {
    /// A line or a piece of data.
    Data(&'a [u8]),
    /// `0000`
    Flush,
}

/// Reads pkt-lines from the front of a request.
pub(super) struct PacketReader<'a> {
    rest: &'a [u8],
}

impl<'a> PacketReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next frame; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Packet<'a>>, GitError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let malformed = |what: &str| GitError::Malformed(what.to_owned());
        let digits = self.rest.get(..4).ok_or_else(|| malformed("a pkt-line's length is cut short"))?;
        let length = std::str::from_utf8(digits)
            .ok()
            .and_then(|text| usize::from_str_radix(text, 16).ok())
            .ok_or_else(|| malformed("a pkt-line's length is not hexadecimal"))?;
        if length == 0 {
            self.rest = &self.rest[4..];
            return Ok(Some(Packet::Flush));
        }
        if !(4..=PACKET_BYTES_MAX).contains(&length) {
            return Err(malformed("a pkt-line's length is out of bounds"));
        }
        let data = self.rest.get(4..length).ok_or_else(|| malformed("a pkt-line is cut short"))?;
        self.rest = &self.rest[length..];
        Ok(Some(Packet::Data(data)))
    }

    /// The bytes after the frames read so far: the pack of a push.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

/// A line of text without its optional newline.
pub(super) fn line(data: &[u8]) -> Result<&str, GitError> {
    std::str::from_utf8(data)
        .map(|text| text.trim_end_matches('\n'))
        .map_err(|_| GitError::Malformed("a line is not UTF-8".to_owned()))
}

/// Appends one pkt-line.
pub(super) fn push_line(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(format!("{:04x}", text.len() + 4).as_bytes());
    out.extend_from_slice(text);
}

/// Appends `0000`.
pub(super) fn push_flush(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0000");
}

/// Which of the multiplexed streams.
#[derive(Debug, Clone, Copy)]
pub(super) enum Band {
    /// The pack, or the report.
    Data = 1,
    /// Messages for the user.
    Progress = 2,
}

/// Appends `data` to a band, in as many pkt-lines as needed.
pub(super) fn push_band(out: &mut Vec<u8>, band: Band, data: &[u8]) {
    for piece in data.chunks(BAND_BYTES_MAX) {
        out.extend_from_slice(format!("{:04x}", piece.len() + 5).as_bytes());
        out.push(band as u8);
        out.extend_from_slice(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reader_returns_written_frames_and_leaves_the_pack() {
        let mut bytes = Vec::new();
        push_line(&mut bytes, b"want 1\n");
        push_flush(&mut bytes);
        bytes.extend_from_slice(b"PACK");
        let mut reader = PacketReader::new(&bytes);
        assert_eq!(reader.next().unwrap(), Some(Packet::Data(b"want 1\n")));
        assert_eq!(reader.next().unwrap(), Some(Packet::Flush));
        assert_eq!(reader.rest(), b"PACK");
    }

    #[test]
    fn frame_with_a_wrong_length_is_rejected() {
        for bad in [&b"00"[..], b"zzzz", b"0001", b"0003", b"0008ab", b"ffffxx"] {
            assert!(PacketReader::new(bad).next().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn long_band_is_split_into_frames_of_the_allowed_size() {
        let mut bytes = Vec::new();
        push_band(&mut bytes, Band::Data, &vec![7; BAND_BYTES_MAX + 1]);
        let mut reader = PacketReader::new(&bytes);
        let sizes: Vec<usize> = std::iter::from_fn(|| match reader.next().unwrap()? {
            Packet::Data(data) => Some(data.len()),
            Packet::Flush => None,
        })
        .collect();
        assert_eq!(sizes, [BAND_BYTES_MAX + 1, 2]);
    }
}
