//! The limits of an image: its size, its number of entries, and the time to pull and unpack it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::error::ImageError;

/// The size that the specification requires registries to accept; also the limit of an index.
const MANIFEST_BYTES_MAX: u64 = 4 << 20;
/// The history of hundreds of steps takes some tens of kilobytes.
const CONFIG_BYTES_MAX: u64 = 4 << 20;
/// The limit of Docker and overlayfs.
const LAYERS_MAX: usize = 128;
/// All layers together, compressed.
const COMPRESSED_BYTES_MAX: u64 = 12 << 30;
/// All layers together, uncompressed.
const UNPACKED_BYTES_MAX: u64 = 40 << 30;
/// Files, directories and links of all layers together; the largest language images have 200,000.
const ENTRIES_MAX: u64 = 1_500_000;
/// The limit of Linux: `PATH_MAX`.
const PATH_BYTES_MAX: usize = 4095;
/// A later walk through the tree keeps one directory open for each part.
const PATH_PARTS_MAX: usize = 256;
/// From the first request to the finished directory.
const TIME_MAX: Duration = Duration::from_secs(30 * 60);

/// The limits of an image. Tests set their own.
#[derive(Debug, Clone)]
pub(super) struct ImageLimits {
    pub manifest_bytes_max: u64,
    pub config_bytes_max: u64,
    pub layers_max: usize,
    pub compressed_bytes_max: u64,
    pub unpacked_bytes_max: u64,
    pub entries_max: u64,
    pub path_bytes_max: usize,
    pub path_parts_max: usize,
    pub time_max: Duration,
}

impl Default for ImageLimits {
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

/// When blocking work must stop: at its deadline, or when its caller has given up.
#[derive(Debug, Clone)]
pub(super) struct Deadline {
    deadline: Instant,
    time_max: Duration,
    abandoned: Arc<AtomicBool>,
}

impl Deadline {
    pub(super) fn starting_at(now: Instant, time_max: Duration) -> Self {
        Self { deadline: now + time_max, time_max, abandoned: Arc::default() }
    }

    pub(super) fn check(&self) -> Result<(), ImageError> {
        if Instant::now() >= self.deadline {
            return Err(ImageError::Time { seconds: self.time_max.as_secs() });
        }
        if self.abandoned.load(Ordering::Relaxed) { Err(ImageError::Abandoned) } else { Ok(()) }
    }

    /// Stops the work when the returned value is dropped.
    pub(super) fn abandon_on_drop(&self) -> AbandonGuard {
        AbandonGuard(Arc::clone(&self.abandoned))
    }
}

pub(super) struct AbandonGuard(Arc<AtomicBool>);

impl Drop for AbandonGuard {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
