//! OCI images without a daemon: an image that an operator or a repository names becomes a directory
//! with its root file system, checked against its digests and unpacked safely.
//!
//! Everything in an image, and everything that a registry says, is a stranger's: bounded, verified,
//! never run, and never given a way out of the directory it is unpacked into. Starts no process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use self::fault::Fault;
pub use self::reference::names_a_host_path;
pub use self::store::{ImageStore, UnpackedImage};

mod digest;
mod fault;
mod layer;
mod local;
mod lock;
mod manifest;
mod pull;
mod reference;
mod rootfs;
mod source;
mod store;
mod tarball;
mod unpack;

/// What the specification asks registries to accept at least; also the bound of an index.
const MANIFEST_BYTES_MAX: u64 = 4 << 20;
/// Histories of hundreds of steps take some tens of kilobytes.
const CONFIG_BYTES_MAX: u64 = 4 << 20;
/// As Docker's and overlayfs' own.
const LAYERS_MAX: usize = 128;
/// All layers together, as they are transferred.
const COMPRESSED_BYTES_MAX: u64 = 12 << 30;
/// All layers together, uncompressed.
const UNPACKED_BYTES_MAX: u64 = 40 << 30;
/// Files, directories and links of all layers together; the largest language images have 200,000.
const ENTRIES_MAX: u64 = 1_500_000;
/// As Linux' `PATH_MAX`.
const PATH_BYTES_MAX: usize = 4095;
/// Whatever walks the tree later holds a directory open for each.
const PATH_PARTS_MAX: usize = 256;
/// From the first question to the finished directory.
const TIME_MAX: Duration = Duration::from_secs(30 * 60);

/// What an image may be and take. Tests set their own.
#[derive(Debug, Clone)]
struct Bounds {
    manifest_bytes_max: u64,
    config_bytes_max: u64,
    layers_max: usize,
    compressed_bytes_max: u64,
    unpacked_bytes_max: u64,
    entries_max: u64,
    path_bytes_max: usize,
    path_parts_max: usize,
    time_max: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            manifest_bytes_max: MANIFEST_BYTES_MAX,
            config_bytes_max: CONFIG_BYTES_MAX,
            layers_max: LAYERS_MAX,
            compressed_bytes_max: COMPRESSED_BYTES_MAX,
            unpacked_bytes_max: UNPACKED_BYTES_MAX,
            entries_max: ENTRIES_MAX,
            path_bytes_max: PATH_BYTES_MAX,
            path_parts_max: PATH_PARTS_MAX,
            time_max: TIME_MAX,
        }
    }
}

/// Until when blocking work may go on: its time, and whether anybody still wants it.
#[derive(Debug, Clone)]
struct Until {
    deadline: Instant,
    time_max: Duration,
    abandoned: Arc<AtomicBool>,
}

impl Until {
    fn starting_at(now: Instant, time_max: Duration) -> Self {
        Self { deadline: now + time_max, time_max, abandoned: Arc::default() }
    }

    fn check(&self) -> Result<(), Fault> {
        if Instant::now() >= self.deadline {
            return Err(Fault::Time { seconds: self.time_max.as_secs() });
        }
        if self.abandoned.load(Ordering::Relaxed) { Err(Fault::Abandoned) } else { Ok(()) }
    }

    /// Tells the work to stop when the returned value goes away.
    fn abandon_on_drop(&self) -> Abandon {
        Abandon(Arc::clone(&self.abandoned))
    }
}

struct Abandon(Arc<AtomicBool>);

impl Drop for Abandon {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
