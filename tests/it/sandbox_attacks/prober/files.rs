//! Attacks on files: which can be opened, read, found and run.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Outcome;
use super::calls::Errno;

/// Enough to recognise what was read.
const SHOWN_BYTES_MAX: u64 = 4096;
/// Planted secrets are not larger than this.
const HUNTED_BYTES_MAX: u64 = 64 << 10;
const DO_NOT_WAIT: i32 = 0o4000;

/// Opens without reading or writing: for files that must not be changed even if this succeeds.
pub fn open(how: &str, path: &str) -> Outcome {
    let mut options = OpenOptions::new();
    match how {
        "read" => options.read(true),
        "write" => options.write(true),
        "both" => options.read(true).write(true),
        "append" => options.append(true),
        unknown => panic!("'{unknown}' is no way to open a file"),
    };
    options.custom_flags(DO_NOT_WAIT).open(path)?;
    Ok("opened".to_owned())
}

/// The beginning of a file, in one line.
pub fn read(path: &str) -> Outcome {
    let mut bytes = Vec::new();
    let file = OpenOptions::new().read(true).custom_flags(DO_NOT_WAIT).open(path)?;
    file.take(SHOWN_BYTES_MAX).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).replace(['\0', '\n'], " ");
    Ok(if text.trim().is_empty() { "empty".to_owned() } else { format!("read: {}", text.trim()) })
}

/// What a directory holds, sorted.
pub fn list(path: &str) -> Outcome {
    let names: Result<BTreeSet<String>, std::io::Error> =
        fs::read_dir(path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect();
    let names: Vec<String> = names?.into_iter().collect();
    Ok(if names.is_empty() { "empty".to_owned() } else { format!("holds: {}", names.join(" ")) })
}

pub fn link(path: &str) -> Outcome {
    Ok(format!("leads to {}", fs::read_link(path)?.display()))
}

/// Overwrites an existing file, and reports the result.
pub fn write(path: &str, text: &str) -> Outcome {
    use std::io::Write;
    OpenOptions::new().write(true).custom_flags(DO_NOT_WAIT).open(path)?.write_all(text.as_bytes())?;
    Ok("written".to_owned())
}

/// Files anywhere but in the kernel's own file systems and `/usr` that hold a text.
pub fn hunt(marker: &str) -> String {
    let mut found = Vec::new();
    walk(Path::new("/"), &mut |path, metadata| {
        if metadata.is_file() && metadata.len() <= HUNTED_BYTES_MAX {
            let content = fs::read(path).unwrap_or_default();
            if content.windows(marker.len()).any(|window| window == marker.as_bytes()) {
                found.push(path.display().to_string());
            }
        }
    });
    if found.is_empty() { "nothing".to_owned() } else { format!("found: {}", found.join(" ")) }
}

/// Device files that are not among the harmless ones.
pub fn devices() -> String {
    // null, zero, full, random, urandom, tty, ptmx (of one's own terminals), console in a container.
    const HARMLESS: [(u64, u64); 7] = [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2)];
    let mut found = BTreeSet::new();
    walk(Path::new("/"), &mut |path, metadata| {
        let kind = metadata.file_type();
        let device = metadata.rdev();
        let numbers = ((device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xf_ff00));
        let harmless = kind.is_char_device() && (HARMLESS.contains(&numbers) || is_own_terminal(path));
        if (kind.is_block_device() || kind.is_char_device()) && !harmless {
            found.insert(format!("{} ({}:{})", path.display(), numbers.0, numbers.1));
        }
    });
    if found.is_empty() {
        "nothing".to_owned()
    } else {
        format!("found: {}", found.into_iter().collect::<Vec<_>>().join(" "))
    }
}

fn is_own_terminal(path: &Path) -> bool {
    path.starts_with("/dev/pts")
}

fn walk(top: &Path, visit: &mut impl FnMut(&Path, &fs::Metadata)) {
    const NOT_ENTERED: [&str; 3] = ["/proc", "/sys", "/usr"];
    let mut pending = vec![PathBuf::from(top)];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let path = entry.path();
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            if metadata.is_dir() {
                if !NOT_ENTERED.iter().any(|never| path == Path::new(never)) {
                    pending.push(path);
                }
            } else {
                visit(&path, &metadata);
            }
        }
    }
}

/// Runs a privileged program, and reports its user.
pub fn with_foreign_rights(path: &str) -> Outcome {
    let output = Command::new(path).arg("who").output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Whether the kernel reveals the addresses of its code.
pub fn kernel_addresses() -> Outcome {
    let mut text = String::new();
    fs::File::open("/proc/kallsyms")?.take(SHOWN_BYTES_MAX).read_to_string(&mut text)?;
    let shown =
        text.lines().any(|line| line.bytes().take_while(|byte| *byte != b' ').any(|byte| byte != b'0'));
    if text.is_empty() {
        return Err(Errno(2));
    }
    Ok(if shown { "addresses" } else { "zeros" }.to_owned())
}
