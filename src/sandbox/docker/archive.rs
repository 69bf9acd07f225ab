//! The files that an image needs to become a sandbox: the toolbox, the directories that every sandbox
//! has, and a name and a home directory for the users inside. Pure; as tar archives, which is how engines
//! accept files.

use std::io::{self, Read};
use std::path::Path;
use std::sync::OnceLock;

use sha2::{Digest, Sha256};

use super::labels::WORK_USER;
use crate::sandbox::{HOME, TOOLBOX, TOOLBOX_PATH, WORKSPACE, seccomp};

/// Where `init --filters` reads the seccomp filters.
const FILTERS_PATH: &str = "/.mendwright/filters";

/// The longest list of users or groups that is read from an image.
pub(super) const LIST_BYTES_MAX: usize = 1 << 20;
pub(super) const USERS: &str = "/etc/passwd";
pub(super) const GROUPS: &str = "/etc/group";

/// The files to add to an image with these users and groups, to be unpacked at `/`. A list that could
/// not be read stays as it is.
pub(super) fn sandbox_files(users: Option<&str>, groups: Option<&str>) -> io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    add_toolbox(&mut archive)?;
    directory(&mut archive, "/home", 0o755, 0)?;
    directory(&mut archive, HOME, 0o755, WORK_USER)?;
    directory(&mut archive, WORKSPACE, 0o755, WORK_USER)?;
    directory(&mut archive, "/tmp", 0o1777, 0)?;
    let lists = [(USERS, users.map(with_users)), (GROUPS, groups.map(with_group))];
    for (path, list) in lists.into_iter().filter_map(|(path, list)| Some((path, list?))) {
        file(&mut archive, path, 0o644, list.as_bytes())?;
    }
    archive.into_inner()
}

/// Only the toolbox and its filters: a process that ran as root may have replaced them.
pub(super) fn toolbox_files() -> io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    add_toolbox(&mut archive)?;
    archive.into_inner()
}

/// The digest of the toolbox and its filters.
pub(super) fn toolbox_digest() -> &'static str {
    static DIGEST: OnceLock<String> = OnceLock::new();
    DIGEST.get_or_init(|| {
        // Without filters no image is created, so the digest without them is never used as a name.
        let filters = filters().unwrap_or_default();
        hex::encode(Sha256::new().chain_update(filters).chain_update(TOOLBOX).finalize())
    })
}

/// The seccomp filters, in the format that the toolbox reads.
fn filters() -> io::Result<Vec<u8>> {
    const INSTRUCTION_BYTES: usize = 8;
    let mut bytes = Vec::new();
    for filter in seccomp::filters_as_bytes().map_err(io::Error::other)? {
        let count = u32::try_from(filter.len() / INSTRUCTION_BYTES).map_err(io::Error::other)?;
        bytes.extend(count.to_le_bytes());
        bytes.extend(filter);
    }
    Ok(bytes)
}

fn add_toolbox(archive: &mut tar::Builder<Vec<u8>>) -> io::Result<()> {
    if let Some(parent) = Path::new(TOOLBOX_PATH).parent().and_then(Path::to_str) {
        directory(archive, parent, 0o755, 0)?;
    }
    // Executable but not readable: then the kernel protects the process' memory and descriptors from
    // other processes of the same user, from its first instruction.
    file(archive, TOOLBOX_PATH, 0o111, TOOLBOX)?;
    file(archive, FILTERS_PATH, 0o444, &filters()?)
}

fn directory(archive: &mut tar::Builder<Vec<u8>>, path: &str, mode: u32, owner: u32) -> io::Result<()> {
    let mut header = header(mode, owner, 0);
    header.set_entry_type(tar::EntryType::Directory);
    archive.append_data(&mut header, format!("{}/", path.trim_start_matches('/')), io::empty())
}

fn file(archive: &mut tar::Builder<Vec<u8>>, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
    let mut header = header(mode, 0, content.len() as u64);
    archive.append_data(&mut header, path.trim_start_matches('/'), content)
}

fn header(mode: u32, owner: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_mode(mode);
    header.set_uid(owner.into());
    header.set_gid(owner.into());
    header.set_size(size);
    header
}

/// The text of the only regular file in an archive; `None` if there is none, or if it is not text.
pub(super) fn text_in(archive: &[u8]) -> Option<String> {
    let mut archive = tar::Archive::new(archive);
    let entry = archive.entries().ok()?.next()?.ok()?;
    let mut text = String::new();
    let is_file = entry.header().entry_type().is_file();
    (is_file && entry.take(LIST_BYTES_MAX as u64).read_to_string(&mut text).is_ok()).then_some(text)
}

/// The users, with the sandbox's home directory for those that run in it: some programs (Java's) read it
/// from here instead of `HOME`.
fn with_users(users: &str) -> String {
    let mut has_agent = false;
    let mut lines: Vec<String> = Vec::new();
    for line in users.lines() {
        let mut fields: Vec<&str> = line.split(':').collect();
        if let [_, _, user, _, _, home, _] = fields.as_mut_slice() {
            let is_agent = user.parse() == Ok(WORK_USER);
            has_agent |= is_agent;
            if is_agent || *user == "0" {
                *home = HOME;
            }
        }
        lines.push(fields.join(":"));
    }
    if users.is_empty() {
        lines.push(format!("root:x:0:0:root:{HOME}:/bin/sh"));
    }
    if !has_agent {
        lines.push(format!("agent:x:{WORK_USER}:{WORK_USER}:agent:{HOME}:/bin/sh"));
    }
    lines.join("\n") + "\n"
}

fn with_group(groups: &str) -> String {
    let mut lines: Vec<&str> = groups.lines().collect();
    let ours = format!("agent:x:{WORK_USER}:");
    if groups.is_empty() {
        lines.push("root:x:0:");
    }
    if !lines.iter().any(|line| line.split(':').nth(2).and_then(|id| id.parse().ok()) == Some(WORK_USER)) {
        lines.push(&ours);
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_inside_have_a_name_and_the_sandboxs_home() {
        insta::assert_snapshot!(with_users("root:x:0:0:root:/root:/bin/bash\nbin:x:2:2:bin:/bin:/bin/false\n"), @r"
        root:x:0:0:root:/home/agent:/bin/bash
        bin:x:2:2:bin:/bin:/bin/false
        agent:x:1000:1000:agent:/home/agent:/bin/sh
        ");
        assert_eq!(
            with_users("node:x:1000:1000::/home/node:/bin/bash"),
            "node:x:1000:1000::/home/agent:/bin/bash\n"
        );
        assert_eq!(with_group("node:x:1000:\n"), "node:x:1000:\n");
        assert_eq!((with_users("").lines().count(), with_group("").lines().count()), (2, 2));
    }

    #[test]
    fn added_files_belong_to_root_except_the_agents_directories() {
        let archive = sandbox_files(Some(""), Some("")).unwrap();
        let mut archive = tar::Archive::new(archive.as_slice());
        let entries = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            let header = entry.header();
            format!(
                "{:o} {} {}",
                header.mode().unwrap(),
                header.uid().unwrap(),
                entry.path().unwrap().display()
            )
        });
        insta::assert_snapshot!(entries.collect::<Vec<_>>().join("\n"), @r"
        755 0 .mendwright/
        111 0 .mendwright/toolbox
        444 0 .mendwright/filters
        755 0 home/
        755 1000 home/agent/
        755 1000 workspace/
        1777 0 tmp/
        644 0 etc/passwd
        644 0 etc/group
        ");
    }

    #[test]
    fn text_is_read_only_from_a_regular_file() {
        let mut link = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        link.append_link(&mut header, "passwd", "/etc/shadow").unwrap();
        assert_eq!(text_in(&link.into_inner().unwrap()), None);
        let mut plain = tar::Builder::new(Vec::new());
        file(&mut plain, "/etc/passwd", 0o644, b"root").unwrap();
        assert_eq!(text_in(&plain.into_inner().unwrap()).as_deref(), Some("root"));
        assert_eq!(text_in(b"anything"), None);
    }
}
