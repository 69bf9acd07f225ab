//! The index of all files of the tree, kept between maps. A file is read again if its size, its inode, or its
//! time of modification or of inode change (which no command can set) differs. It is parsed again only if its
//! content differs. A stale entry would be harmless: nothing is decided by the map.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ignore::DirEntry;
use tree_sitter::Parser;

use super::language;
use super::outline::{Outline, outline};
use super::roles::{Role, role_of_path};
use crate::tree::Tree;
use crate::walk;
use mendwright_protocol::MapCounts;

/// Most files of a tree.
const FILES_MAX: usize = 100_000;
/// Largest file that is parsed.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Largest file of an unknown language whose words are taken.
const PROSE_BYTES_MAX: u64 = 128 << 10;
/// Files over this size are parsed one at a time: a syntax tree takes 10 to 30 times the file's size.
const LARGE_BYTES: u64 = 256 << 10;
/// Time for all files together. The next map reads the rest.
const READ_MAX: Duration = Duration::from_secs(30);
/// Bytes of the index.
const MEMORY_BYTES_MAX: usize = 180 << 20;
/// Most threads.
const THREADS_MAX: usize = 8;
/// A file that changed within this time before it was read may change again without a new time.
const RACY: Duration = Duration::from_millis(50);
/// Files that are parsed a second time.
const AGAIN_MAX: usize = 10;
/// A NUL among the first bytes makes a file binary, as for git.
const BINARY_CHECK_BYTES: usize = 8_000;

/// The files of the tree at the last update, by path.
#[derive(Default)]
pub struct Index {
    pub files: Vec<File>,
    pub counts: MapCounts,
}

/// A file.
#[derive(Clone)]
pub struct File {
    pub path: String,
    pub bytes: u64,
    pub role: Role,
    /// It was read, and only its name and size are known.
    name_only: bool,
    /// The outline of its content.
    pub outline: Option<Arc<Outline>>,
    stamp: Stamp,
    digest: Option<u64>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Index {
    /// Updates the index to the current tree.
    pub fn refresh(&mut self, tree: &Tree) -> Result<(), String> {
        let known: HashMap<String, File> =
            std::mem::take(&mut self.files).into_iter().map(|file| (file.path.clone(), file)).collect();
        let mut by_content: HashMap<u64, Arc<Outline>> = HashMap::new();
        let mut counts = MapCounts::default();
        let mut files = Vec::new();
        let mut wanted = Vec::new();
        let stamp = |entry: &DirEntry| {
            let is_file = entry.file_type().is_some_and(|kind| kind.is_file());
            is_file.then(|| entry.metadata().map(|metadata| Stamp::of(&metadata)).unwrap_or_default())
        };
        for (path, stamp) in walk::files(tree, "", stamp)? {
            counts.files += 1;
            if files.len() == FILES_MAX {
                counts.not_looked_at += 1;
                continue;
            }
            match known.get(&path) {
                Some(file) if file.stamp == stamp && (file.outline.is_some() || file.name_only) => {
                    match file.name_only {
                        true => counts.names_only += 1,
                        false => counts.cached += 1,
                    }
                    files.push(file.clone());
                }
                _ => {
                    wanted.push(files.len());
                    let role = role_of_path(&path);
                    files.push(File {
                        path,
                        bytes: stamp.bytes,
                        role,
                        name_only: false,
                        outline: None,
                        stamp,
                        digest: None,
                    });
                }
            }
        }
        for file in known.into_values() {
            if let (Some(digest), Some(outline)) = (file.digest, file.outline) {
                by_content.insert(digest, outline);
            }
        }
        // The most important files first, in case time or memory is not enough.
        wanted.sort_by_key(|at| (files[*at].role, files[*at].path.matches('/').count(), *at));
        let memory = files.iter().filter_map(|file| file.outline.as_ref()).map(|o| o.memory_bytes()).sum();
        let work = IndexWork {
            tree,
            files: &files,
            wanted: &wanted,
            by_content: &by_content,
            next: AtomicUsize::new(0),
            memory: AtomicUsize::new(memory),
            large: Mutex::new(()),
            until: Instant::now() + READ_MAX,
        };
        let mut looked = work.done();
        work.again(&mut looked);
        for (at, looked) in looked {
            match looked {
                Looked::Known(digest, outline) => {
                    counts.cached += 1;
                    files[at].take(digest, outline);
                }
                Looked::Read(digest, outline) => {
                    counts.read += 1;
                    files[at].take(digest, outline);
                }
                Looked::NameOnly => {
                    counts.names_only += 1;
                    files[at].name_only = true;
                }
                Looked::No => counts.not_looked_at += 1,
            }
        }
        files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        self.files = files;
        self.counts = counts;
        Ok(())
    }

    /// The outline of file `at`, if it was read.
    pub fn outline(&self, at: usize) -> Option<&Outline> {
        self.files[at].outline.as_deref()
    }
}

impl File {
    fn take(&mut self, digest: u64, outline: Arc<Outline>) {
        self.digest = Some(digest);
        if outline.generated || outline.minified {
            self.role = self.role.max(Role::Generated);
        }
        self.outline = Some(outline);
        if self.stamp.is_racy() {
            // Read again next time, and parsed only if its content differs.
            self.stamp.inode = 0;
        }
    }
}

impl Stamp {
    fn of(metadata: &std::fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    fn is_racy(&self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let changed = Duration::new(u64::try_from(self.changed.0).unwrap_or(0), self.changed.1 as u32);
        now.saturating_sub(changed) < RACY
    }
}

enum Looked {
    /// Its content is known from another file.
    Known(u64, Arc<Outline>),
    Read(u64, Arc<Outline>),
    /// Skipped: binary, too large, or not readable.
    NameOnly,
    /// No time or no memory left.
    No,
}

struct IndexWork<'a> {
    tree: &'a Tree,
    files: &'a [File],
    wanted: &'a [usize],
    by_content: &'a HashMap<u64, Arc<Outline>>,
    next: AtomicUsize,
    memory: AtomicUsize,
    large: Mutex<()>,
    until: Instant,
}

impl IndexWork<'_> {
    fn done(&self) -> Vec<(usize, Looked)> {
        let threads = walk::threads(THREADS_MAX);
        let threads = threads.min(self.wanted.len() / 8 + 1);
        thread::scope(|scope| {
            let others: Vec<_> = (1..threads)
                // If no thread can be started, the existing ones do all the work.
                .filter_map(|_| thread::Builder::new().spawn_scoped(scope, || self.some()).ok())
                .collect();
            let mut looked = self.some();
            for other in others {
                looked.extend(other.join().unwrap_or_default());
            }
            looked
        })
    }

    /// Parses files again, one at a time, whose parser was stopped: another file may have used the memory.
    fn again(&self, looked: &mut [(usize, Looked)]) {
        let mut parser = Parser::new();
        let cut_short = |looked: &Looked| matches!(looked, Looked::Read(_, outline) if outline.cut_short);
        for (at, looked) in looked.iter_mut().filter(|(_, looked)| cut_short(looked)).take(AGAIN_MAX) {
            if Instant::now() < self.until {
                *looked = self.look(&self.files[*at], &mut parser, &mut Vec::new());
            }
        }
    }

    /// Reads one file after the other, until no file is left.
    fn some(&self) -> Vec<(usize, Looked)> {
        let mut parser = Parser::new();
        let mut content = Vec::new();
        let mut looked = Vec::new();
        while let Some(at) = self.wanted.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            let outcome =
                match Instant::now() > self.until || self.memory.load(Ordering::Relaxed) > MEMORY_BYTES_MAX {
                    true => Looked::No,
                    false => self.look(&self.files[*at], &mut parser, &mut content),
                };
            if let Looked::Read(_, outline) = &outcome {
                self.memory.fetch_add(outline.memory_bytes(), Ordering::Relaxed);
            }
            looked.push((*at, outcome));
        }
        looked
    }

    fn look(&self, file: &File, parser: &mut Parser, content: &mut Vec<u8>) -> Looked {
        let language = language::of_path(&file.path);
        let bytes_max = if language.is_some() { FILE_BYTES_MAX } else { PROSE_BYTES_MAX };
        if file.bytes > bytes_max {
            return Looked::NameOnly;
        }
        let Ok(open) = self.tree.open_file(&file.path) else { return Looked::NameOnly };
        content.clear();
        if open.file.take(bytes_max).read_to_end(content).is_err()
            || content.iter().take(BINARY_CHECK_BYTES).any(|byte| *byte == 0)
        {
            return Looked::NameOnly;
        }
        let digest = digest(language, content);
        if let Some(outline) = self.by_content.get(&digest) {
            return Looked::Known(digest, Arc::clone(outline));
        }
        let _alone =
            (file.bytes > LARGE_BYTES).then(|| self.large.lock().unwrap_or_else(PoisonError::into_inner));
        Looked::Read(digest, Arc::new(outline(parser, language, content)))
    }
}

/// A hash of a content. It needs no protection against deliberate collisions, which would have no effect.
fn digest(language: Option<u8>, content: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (language, content).hash(&mut hasher);
    hasher.finish()
}
