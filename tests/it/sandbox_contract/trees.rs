//! Trees of every shape: large ones, odd names, long paths, sparse files, dangling symlinks, and trees that do
//! not fit.

use std::collections::HashSet;

use mendwright::domain::{Change, ChangedContent, RepoPath};
use mendwright::sandbox::protocol::{FileEntry, ListFiles, ReadFile, Search};
use mendwright::sandbox::{SandboxError, Toolbox};

use super::measure::{alone, resident_kib};
use super::{Backend, in_default_sandbox, in_sandbox, ok, refusal, spec, tar_of, unique};

on_every_backend! {
    ten_thousand_files_are_unpacked_listed_and_collected,
    symlink_loops_do_not_break_walks,
    odd_names_are_listed_read_and_collected,
    longest_paths_work_and_longer_ones_are_refused,
    sparse_file_is_limited_by_what_is_read,
    tree_larger_than_the_disk_is_refused,
    truncated_tree_is_refused,
}

async fn list(toolbox: &Toolbox, path: &str, entries_max: u32) -> (Vec<FileEntry>, u64) {
    let request = ListFiles { path: path.to_owned(), glob: None, entries_max };
    let listing = toolbox.list_files(&request).await.unwrap();
    (listing.entries, listing.omitted)
}

fn paths(paths: impl IntoIterator<Item = String>) -> Vec<RepoPath> {
    paths.into_iter().map(|path| path.parse().unwrap()).collect()
}

fn bytes_of(change: &Change) -> &[u8] {
    match &change.content {
        ChangedContent::File { bytes, .. } => bytes,
        ChangedContent::Absent => panic!("{} is absent", change.path),
    }
}

async fn ten_thousand_files_are_unpacked_listed_and_collected(backend: Backend) {
    in_default_sandbox(backend, async |toolbox| {
        let name = |n: u32| format!("dir-{}/sub-{}/file-{n}.txt", n % 100, n % 7);
        let content = |n: u32| format!("content of {n}\n").repeat(1 + n as usize % 90).into_bytes();
        let tar = tar_of((0..10_000).map(|n| (name(n), content(n))), &[]);
        toolbox.unpack(tar.as_slice()).await.unwrap();
        assert_eq!(ok(&toolbox, "find . -type f | wc -l").await.trim(), "10000");
        let (entries, omitted) = list(&toolbox, "", 20_000).await;
        assert_eq!((entries.len(), omitted), (10_000, 0));
        let listed: HashSet<&str> = entries.iter().map(|entry| entry.path.as_str()).collect();
        assert!((0..10_000).all(|n| listed.contains(name(n).as_str())));
        for batch in 0..10 {
            let numbers = (batch * 1_000)..(batch * 1_000 + 1_000);
            let changes = toolbox.collect(&paths(numbers.clone().map(name))).await.unwrap();
            assert!(numbers.zip(&changes).all(|(n, change)| bytes_of(change) == content(n)));
        }
        toolbox
    })
    .await;
}

async fn symlink_loops_do_not_break_walks(backend: Backend) {
    in_default_sandbox(backend, async |toolbox| {
        let links = [
            ("a/up", ".."),
            ("a/b/top", "../.."),
            ("one", "two"),
            ("two", "one"),
            ("self", "self"),
            ("nowhere", "gone"),
        ];
        let files = [("a/b/real".to_owned(), b"needle\n".to_vec())];
        toolbox.unpack(tar_of(files, &links).as_slice()).await.unwrap();
        let (entries, omitted) = list(&toolbox, "", 100).await;
        assert_eq!((entries.len(), omitted), (7, 0), "{entries:?}");
        let search = Search {
            pattern: "needle".to_owned(),
            literal: true,
            path: String::new(),
            glob: None,
            context_lines: 0,
            matches_max: 100,
        };
        assert_eq!(toolbox.search(&search).await.unwrap().matches, 1);
        for path in ["a/up/a/b/real", "one", "self", "nowhere"] {
            assert!(refusal(toolbox.collect(&paths([path.to_owned()])).await).contains("symlink"), "{path}");
        }
        toolbox
    })
    .await;
}

async fn odd_names_are_listed_read_and_collected(backend: Backend) {
    in_default_sandbox(backend, async |toolbox| {
        let odd = [
            "-rf",
            "--help",
            "a\nb",
            "it's",
            "say \"hi\"",
            "$(touch x)",
            "`id`",
            "a b  c",
            " lead",
            "trail ",
            "🙂/ünï",
            "*",
            "?",
            "[a]",
            "back\\slash",
            "tab\there",
            "#x",
            "a;b",
            "%s%n",
            "\u{202e}rtl",
            "con",
            "é",
            "e\u{301}",
        ];
        let files = odd.map(|name| (name.to_owned(), name.as_bytes().to_vec()));
        toolbox.unpack(tar_of(files, &[]).as_slice()).await.unwrap();
        assert_eq!(
            ok(&toolbox, "find . -type f -print0 | tr -dc '\\0' | wc -c").await.trim(),
            odd.len().to_string()
        );
        let (entries, _) = list(&toolbox, "", 100).await;
        let listed: HashSet<&str> = entries.iter().map(|entry| entry.path.as_str()).collect();
        assert_eq!(listed, HashSet::from(odd));
        for name in odd {
            let request = ReadFile { path: name.to_owned(), first_line: 1, lines_max: 5 };
            assert_eq!(toolbox.read_file(&request).await.unwrap().text, name);
            // Names that a proposal may not have are refused before the request.
            if let Ok(path) = name.parse::<RepoPath>() {
                let changes = toolbox.collect(&[path]).await.unwrap();
                assert_eq!(bytes_of(&changes[0]), name.as_bytes(), "{name:?}");
            }
        }
        // A name that is not UTF-8 is listed with replacement characters, and does not break the walk.
        ok(&toolbox, r#": > "$(printf 'not\377text')"; : > "$(printf '\200')""#).await;
        assert_eq!(list(&toolbox, "", 100).await.0.len(), odd.len() + 2);
        toolbox
    })
    .await;
}

async fn longest_paths_work_and_longer_ones_are_refused(backend: Backend) {
    in_default_sandbox(backend, async |toolbox| {
        // 15 names of 255 bytes and one of 254: 4,094 bytes.
        let deep = [vec!["d".repeat(255); 15].join("/"), "f".repeat(254)].join("/");
        let wide = "ü".repeat(127);
        let files = [deep.clone(), wide.clone()].map(|path| (path.clone(), path.into_bytes()));
        toolbox.unpack(tar_of(files, &[]).as_slice()).await.unwrap();
        let (entries, _) = list(&toolbox, "", 100).await;
        let mut listed: Vec<&str> = entries.iter().map(|entry| entry.path.as_str()).collect();
        listed.sort_by_key(|path| path.len());
        assert_eq!(listed, [wide.as_str(), deep.as_str()]);
        let request = |path: &str| ReadFile { path: path.to_owned(), first_line: 1, lines_max: 1 };
        assert_eq!(toolbox.read_file(&request(&wide)).await.unwrap().text, wide);
        assert!(toolbox.read_file(&request(&deep)).await.unwrap().text.starts_with("ddd"));
        let collected = toolbox.collect(&paths([wide.clone()])).await.unwrap();
        assert_eq!(bytes_of(&collected[0]), wide.as_bytes());
        for too_long in ["n".repeat(256), format!("{deep}/x"), "p/".repeat(5_000)] {
            let message = refusal(toolbox.read_file(&request(&too_long)).await);
            assert!(message.contains("too long") || message.contains("longer than") || message.contains("not a directory"), "{message}");
        }
        // Directories deeper than any path can name do not break the walk.
        ok(&toolbox, "n=0; while [ $n -lt 100 ]; do mkdir -p e/e/e/e/e/e/e/e/e/e && cd e/e/e/e/e/e/e/e/e/e || exit 1; n=$((n + 1)); done; : > bottom").await;
        assert!(list(&toolbox, "", 100).await.0.len() >= 2);
        ok(&toolbox, "rm -r e").await;
        toolbox
    })
    .await;
}

async fn sparse_file_is_limited_by_what_is_read(backend: Backend) {
    alone(module_path!(), backend, "sparse_file_is_limited_by_what_is_read", async || {
        in_default_sandbox(backend, async |toolbox| {
            let before = resident_kib("VmHWM:");
            ok(&toolbox, "truncate -s 10G holes; printf 'head\\n' > text; truncate -s 10G text").await;
            let (entries, _) = list(&toolbox, "", 10).await;
            assert_eq!(entries[0].bytes, 10 << 30);
            assert!(
                refusal(toolbox.collect(&paths(["holes".to_owned()])).await).contains("allowed for a file")
            );
            for path in ["holes", "text"] {
                let message = refusal(
                    toolbox.read_file(&ReadFile { path: path.to_owned(), first_line: 1, lines_max: 5 }).await,
                );
                assert!(message.contains("binary") || message.contains("that can be read"), "{message}");
            }
            let search = Search {
                pattern: "head".to_owned(),
                literal: true,
                path: String::new(),
                glob: None,
                context_lines: 0,
                matches_max: 10,
            };
            toolbox.search(&search).await.unwrap();
            let grown = resident_kib("VmHWM:").saturating_sub(before);
            assert!(grown < 32 << 10, "we grew by {grown} KiB");
            let inside =
                ok(&toolbox, "grep VmHWM: /proc/1/status | tr -dc 0-9").await.parse::<u64>().unwrap();
            assert!(inside < 48 << 10, "the toolbox took {inside} KiB");
            toolbox
        })
        .await;
    })
    .await;
}

async fn tree_larger_than_the_disk_is_refused(backend: Backend) {
    in_sandbox(
        backend,
        |spec| spec.limits.disk_bytes_max = 64 << 20,
        async |toolbox| {
            let tar = tar_of((0..100).map(|n| (format!("file-{n}"), vec![b'x'; 1 << 20])), &[]);
            let message = toolbox.unpack(tar.as_slice()).await.unwrap_err().to_string();
            assert!(message.contains("does not fit") && message.contains("No space left"), "{message}");
            toolbox
        },
    )
    .await;
}

async fn truncated_tree_is_refused(backend: Backend) {
    let sandbox = backend.sandbox();
    let tar = tar_of((0..100).map(|n| (format!("file-{n}"), vec![b'x'; 100_000])), &[]);
    let whole = tar.as_slice();
    for part in [
        &whole[..whole.len() / 2],
        &whole[..100],
        b"this is no tar, however long it may be".repeat(100).as_slice(),
    ] {
        let toolbox = sandbox.start(&spec(backend, &unique("broken"))).await.unwrap();
        let message = toolbox.unpack(part).await.unwrap_err();
        assert!(
            matches!(&message, SandboxError::Gone(why) if why.contains("could not be unpacked")),
            "{message}"
        );
        toolbox.shut_down().await;
    }
}
