//! Unpacks a layer onto those below it. First the whole layer is read, checked against its digest and
//! its bounds, and its whiteouts are applied to what is below; only then anything of it is written.
//! So a whiteout never hides something of its own layer, and nothing is made of what was not meant.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use super::fault::Fault;
use super::layer::LayerStream;
use super::manifest::{Compression, verify_digest};
use super::rootfs::{Parts, RootFs};
use super::tarball::{Entry, Kind, Tarball};
use super::{Bounds, Until};

/// Whiteouts: <https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts>
const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// What one storage driver keeps for itself.
const WHITEOUT_RESERVED: &[u8] = b".wh..wh.";
/// What a layer's whiteouts may take in memory until it is known to be sound.
const WHITEOUT_MEMORY_BYTES_MAX: usize = 64 << 20;
const COPY_BYTES: usize = 128 * 1024;

/// What the layers so far came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Entries, and directories that were made for them.
    pub entries: u64,
    /// Bytes of the uncompressed layers.
    pub bytes: u64,
    /// Devices and pipes, left out.
    pub skipped: u64,
}

/// A layer in a file of ours.
pub(super) struct LayerFile<'a> {
    pub path: &'a Path,
    pub compression: Compression,
    /// Of the uncompressed tar.
    pub diff_id: &'a str,
}

enum Whiteout {
    Of(Parts),
    AllIn(Parts),
}

impl Whiteout {
    fn memory_bytes(&self) -> usize {
        let (Self::Of(path) | Self::AllIn(path)) = self;
        64 + path.iter().map(|part| 64 + part.len()).sum::<usize>()
    }
}

/// What an entry's name makes of it.
enum Meaning {
    Content(Parts),
    Hides(Whiteout),
    Nothing,
}

/// Unpacks `layer` into `root`.
pub(super) fn unpack(
    layer: &LayerFile<'_>,
    root: &mut RootFs,
    tally: &mut Tally,
    bounds: &Bounds,
    until: &Until,
) -> Result<(), Fault> {
    let bytes_max = bounds.unpacked_bytes_max.saturating_sub(tally.bytes);
    let open = || {
        let file = File::open(layer.path).map_err(|error| Fault::disk("reading", layer.path, error))?;
        Ok::<_, Fault>(LayerStream::open(file, layer.compression, bytes_max, until))
    };
    let whiteouts = examine(open()?, layer.diff_id, tally, bounds)?;
    for whiteout in whiteouts {
        until.check()?;
        match whiteout {
            Whiteout::Of(path) => root.remove(&path)?,
            Whiteout::AllIn(path) => root.empty(&path)?,
        }
    }
    let mut stream = open()?;
    let mut tarball = Tarball::new(&mut stream, bounds);
    while let Some(entry) = tarball.next()? {
        write_entry(&entry, &mut tarball, root, tally, bounds)?;
        if tally.entries + root.made_on_the_way() > bounds.entries_max {
            return Err(too_many(bounds));
        }
    }
    Ok(())
}

/// Reads the whole layer, writes nothing, and says what it hides.
fn examine(
    mut stream: LayerStream,
    diff_id: &str,
    tally: &mut Tally,
    bounds: &Bounds,
) -> Result<Vec<Whiteout>, Fault> {
    let mut whiteouts = Vec::new();
    let mut whiteouts_bytes = 0;
    let mut tarball = Tarball::new(&mut stream, bounds);
    while let Some(entry) = tarball.next()? {
        tally.entries += 1;
        if tally.entries > bounds.entries_max {
            return Err(too_many(bounds));
        }
        if let Meaning::Hides(whiteout) = meaning(&entry, bounds)? {
            whiteouts_bytes += whiteout.memory_bytes();
            if whiteouts_bytes > WHITEOUT_MEMORY_BYTES_MAX {
                return Err(Fault::over("what a layer hides", format!("{WHITEOUT_MEMORY_BYTES_MAX} bytes")));
            }
            whiteouts.push(whiteout);
        }
        if entry.kind == Kind::HardLink {
            checked_parts(&entry.target, &entry.path, bounds)?;
        }
    }
    let (digest, bytes) = stream.finish()?;
    verify_digest("an uncompressed layer", diff_id, &digest)?;
    tally.bytes += bytes;
    Ok(whiteouts)
}

fn write_entry(
    entry: &Entry,
    tarball: &mut Tarball<'_>,
    root: &mut RootFs,
    tally: &mut Tally,
    bounds: &Bounds,
) -> Result<(), Fault> {
    let Meaning::Content(path) = meaning(entry, bounds)? else { return Ok(()) };
    match entry.kind {
        Kind::Directory => root.put_directory(&path, entry.mode),
        Kind::Symlink => root.put_symlink(&path, &entry.target),
        Kind::HardLink => root.put_hard_link(&path, &checked_parts(&entry.target, &entry.path, bounds)?),
        Kind::Special => {
            tally.skipped += 1;
            Ok(())
        }
        Kind::File => root.put_file(&path, entry.mode, entry.modified, |file| {
            let mut buffer = vec![0; COPY_BYTES.min(usize::try_from(entry.bytes).unwrap_or(COPY_BYTES))];
            loop {
                match tarball.read(&mut buffer)? {
                    0 => return Ok(()),
                    read => file
                        .write_all(&buffer[..read])
                        .map_err(|error| Fault::disk("writing", Path::new("a file of the image"), error))?,
                }
            }
        }),
    }
}

fn meaning(entry: &Entry, bounds: &Bounds) -> Result<Meaning, Fault> {
    let mut path = checked_parts(&entry.path, &entry.path, bounds)?;
    let Some(name) = path.last_mut() else { return Ok(Meaning::Content(path)) };
    if name == OPAQUE {
        path.pop();
        return Ok(Meaning::Hides(Whiteout::AllIn(path)));
    }
    if name.starts_with(WHITEOUT_RESERVED) {
        return Ok(Meaning::Nothing);
    }
    let Some(hidden) = name.strip_prefix(WHITEOUT) else { return Ok(Meaning::Content(path)) };
    if matches!(hidden, b"" | b"." | b"..") {
        return Err(Fault::entry(&entry.path, "would hide what is no name"));
    }
    *name = hidden.to_vec();
    Ok(Meaning::Hides(Whiteout::Of(path)))
}

/// A path's parts, from the image's root, whether it begins with '/' or not.
fn checked_parts(path: &[u8], entry: &[u8], bounds: &Bounds) -> Result<Parts, Fault> {
    if path.len() > bounds.path_bytes_max {
        return Err(Fault::over("the length of a path in it", format!("{} bytes", bounds.path_bytes_max)));
    }
    if path.contains(&0) {
        return Err(Fault::entry(entry, "has a NUL byte in its path"));
    }
    let parts: Parts = path
        .split(|byte| *byte == b'/')
        .filter(|part| !part.is_empty() && *part != b".")
        .map(<[u8]>::to_vec)
        .collect();
    if parts.iter().any(|part| part == b"..") {
        return Err(Fault::entry(entry, "leads out of the image by '..'"));
    }
    if parts.len() > bounds.path_parts_max {
        return Err(Fault::over("the depth of a path in it", bounds.path_parts_max));
    }
    Ok(parts)
}

fn too_many(bounds: &Bounds) -> Fault {
    Fault::over("the number of its entries", bounds.entries_max)
}

#[cfg(test)]
mod tests;
