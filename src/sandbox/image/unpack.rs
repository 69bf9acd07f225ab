//! Unpacks a layer onto those below it. First the whole layer is read and checked against its digest and its
//! limits. Then its whiteouts are applied to the layers below, and only then its entries are written. So a
//! whiteout never hides an entry of its own layer, and nothing of an invalid layer is written.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use super::error::ImageError;
use super::layer::LayerStream;
use super::limits::{Deadline, ImageLimits};
use super::manifest::{Compression, verify_digest};
use super::rootfs::{Parts, RootFs};
use super::tarball::{Entry, EntryKind, Tarball};

/// Whiteouts: <https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts>
const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Reserved by a storage driver.
const WHITEOUT_RESERVED: &[u8] = b".wh..wh.";
/// The memory that a layer's whiteouts may take until the layer is verified.
const WHITEOUT_MEMORY_BYTES_MAX: usize = 64 << 20;
const COPY_BYTES: usize = 128 * 1024;

/// The totals of the layers so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Entries, and directories that were created for them.
    pub entries: u64,
    /// Bytes of the uncompressed layers.
    pub bytes: u64,
    /// Devices and pipes, which are omitted.
    pub skipped: u64,
}

/// A layer that was downloaded to a file.
pub(super) struct LayerFile<'a> {
    pub path: &'a Path,
    pub compression: Compression,
    /// The digest of the uncompressed tar.
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

/// The meaning of an entry, by its name.
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
    limits: &ImageLimits,
    deadline: &Deadline,
) -> Result<(), ImageError> {
    let bytes_max = limits.unpacked_bytes_max.saturating_sub(tally.bytes);
    let open = || {
        let file = File::open(layer.path).map_err(|error| ImageError::disk("reading", layer.path, error))?;
        Ok::<_, ImageError>(LayerStream::open(file, layer.compression, bytes_max, deadline))
    };
    let whiteouts = examine(open()?, layer.diff_id, tally, limits)?;
    for whiteout in whiteouts {
        deadline.check()?;
        match whiteout {
            Whiteout::Of(path) => root.remove(&path)?,
            Whiteout::AllIn(path) => root.empty(&path)?,
        }
    }
    let mut stream = open()?;
    let mut tarball = Tarball::new(&mut stream, limits);
    while let Some(entry) = tarball.next()? {
        write_entry(&entry, &mut tarball, root, tally, limits)?;
        if tally.entries + root.implicit_directories() > limits.entries_max {
            return Err(too_many(limits));
        }
    }
    Ok(())
}

/// Reads the whole layer without writing anything. Returns its whiteouts.
fn examine(
    mut stream: LayerStream,
    diff_id: &str,
    tally: &mut Tally,
    limits: &ImageLimits,
) -> Result<Vec<Whiteout>, ImageError> {
    let mut whiteouts = Vec::new();
    let mut whiteouts_bytes = 0;
    let mut tarball = Tarball::new(&mut stream, limits);
    while let Some(entry) = tarball.next()? {
        tally.entries += 1;
        if tally.entries > limits.entries_max {
            return Err(too_many(limits));
        }
        if let Meaning::Hides(whiteout) = meaning(&entry, limits)? {
            whiteouts_bytes += whiteout.memory_bytes();
            if whiteouts_bytes > WHITEOUT_MEMORY_BYTES_MAX {
                return Err(ImageError::over(
                    "what a layer hides",
                    format!("{WHITEOUT_MEMORY_BYTES_MAX} bytes"),
                ));
            }
            whiteouts.push(whiteout);
        }
        if entry.kind == EntryKind::HardLink {
            checked_parts(&entry.target, &entry.path, limits)?;
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
    limits: &ImageLimits,
) -> Result<(), ImageError> {
    let Meaning::Content(path) = meaning(entry, limits)? else { return Ok(()) };
    match entry.kind {
        EntryKind::Directory => root.put_directory(&path, entry.mode),
        EntryKind::Symlink => root.put_symlink(&path, &entry.target),
        EntryKind::HardLink => root.put_hard_link(&path, &checked_parts(&entry.target, &entry.path, limits)?),
        EntryKind::Special => {
            tally.skipped += 1;
            Ok(())
        }
        EntryKind::File => root.put_file(&path, entry.mode, entry.modified, |file| {
            let mut buffer = vec![0; COPY_BYTES.min(usize::try_from(entry.bytes).unwrap_or(COPY_BYTES))];
            loop {
                match tarball.read(&mut buffer)? {
                    0 => return Ok(()),
                    read => file.write_all(&buffer[..read]).map_err(|error| {
                        ImageError::disk("writing", Path::new("a file of the image"), error)
                    })?,
                }
            }
        }),
    }
}

fn meaning(entry: &Entry, limits: &ImageLimits) -> Result<Meaning, ImageError> {
    let mut path = checked_parts(&entry.path, &entry.path, limits)?;
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
        return Err(ImageError::entry(&entry.path, "would hide what is no name"));
    }
    *name = hidden.to_vec();
    Ok(Meaning::Hides(Whiteout::Of(path)))
}

/// The parts of a path from the image's root, whether it begins with '/' or not.
fn checked_parts(path: &[u8], entry: &[u8], limits: &ImageLimits) -> Result<Parts, ImageError> {
    if path.len() > limits.path_bytes_max {
        return Err(ImageError::over(
            "the length of a path in it",
            format!("{} bytes", limits.path_bytes_max),
        ));
    }
    if path.contains(&0) {
        return Err(ImageError::entry(entry, "has a NUL byte in its path"));
    }
    let parts: Parts = path
        .split(|byte| *byte == b'/')
        .filter(|part| !part.is_empty() && *part != b".")
        .map(<[u8]>::to_vec)
        .collect();
    if parts.iter().any(|part| part == b"..") {
        return Err(ImageError::entry(entry, "leads out of the image by '..'"));
    }
    if parts.len() > limits.path_parts_max {
        return Err(ImageError::over("the depth of a path in it", limits.path_parts_max));
    }
    Ok(parts)
}

fn too_many(limits: &ImageLimits) -> ImageError {
    ImageError::over("the number of its entries", limits.entries_max)
}

#[cfg(test)]
mod tests;
