//! Applies the system call filters from inside the sandbox, for an engine that applies only its own. They hold for
//! every process that is started afterwards, and cannot be removed.

use std::fs;

use libc::{sock_filter, sock_fprog};

/// The file of the filters: for each, the number of its instructions (four bytes, little-endian), and the
/// instructions in the kernel's format.
const FILTERS: &str = "/.mendwright/filters";
/// The limit of Linux (`BPF_MAXINSNS`).
const INSTRUCTIONS_MAX: usize = 4096;

/// Applies the filters in [`FILTERS`], in that order. There must be no other thread yet.
pub fn put_on() -> Result<(), String> {
    let bytes = fs::read(FILTERS).map_err(|e| format!("{FILTERS}: {e}"))?;
    let filters = parse(&bytes).ok_or_else(|| format!("{FILTERS}: it holds no filters"))?;
    for mut filter in filters {
        let program = sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
        // SAFETY: the program points to instructions that live until the call has copied them.
        let outcome =
            unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
        if outcome != 0 {
            return Err(std::io::Error::last_os_error().to_string());
        }
    }
    Ok(())
}

/// At least one filter, and nothing beside.
fn parse(mut bytes: &[u8]) -> Option<Vec<Vec<sock_filter>>> {
    let mut filters = Vec::new();
    while let Some((count, rest)) = bytes.split_first_chunk() {
        let count = u32::from_le_bytes(*count) as usize;
        if count == 0 || count > INSTRUCTIONS_MAX || rest.len() < count * 8 {
            return None;
        }
        let (instructions, rest) = rest.split_at(count * 8);
        filters.push(instructions.as_chunks().0.iter().map(instruction).collect());
        bytes = rest;
    }
    (bytes.is_empty() && !filters.is_empty()).then_some(filters)
}

fn instruction(bytes: &[u8; 8]) -> sock_filter {
    let [code, code_end, jt, jf, k @ ..] = *bytes;
    sock_filter { code: u16::from_ne_bytes([code, code_end]), jt, jf, k: u32::from_ne_bytes(k) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_filter_is_none() {
        let whole = [&1_u32.to_le_bytes()[..], &[6, 0, 0, 0, 0, 0, 0xff, 0x7f]].concat();
        let twice = [&whole[..], &whole[..]].concat();
        assert_eq!(parse(&whole).unwrap().len(), 1);
        assert_eq!(parse(&twice).unwrap()[1].len(), 1);
        assert_eq!(parse(&whole).unwrap()[0][0].k, 0x7fff_0000_u32.to_le());
        for broken in [&[][..], &whole[..11], &twice[..13], &[0; 4], &[0xff; 8]] {
            assert!(parse(broken).is_none(), "{broken:?} was accepted");
        }
    }
}
