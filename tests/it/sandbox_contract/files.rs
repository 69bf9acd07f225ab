//! Files: the tree that goes in, the tools that work on it, and the changes that come out.

use mendwright::domain::{ChangedContent, FileMode, RepoPath};
use mendwright::sandbox::protocol::{Edit, EditFile, ListFiles, ReadFile, Search, WriteFile};

use super::{Backend, in_default_sandbox, ok, refusal, tar_of};

on_every_backend! {
    a_tree_of_two_thousand_files_arrives_and_is_found,
    files_are_read_edited_written_and_collected,
    file_calls_do_not_follow_symlinks_out_of_the_tree,
    special_and_large_files_are_not_collected,
}

async fn a_tree_of_two_thousand_files_arrives_and_is_found(backend: Backend) {
    in_default_sandbox(backend, async |toolbox| {
        let files = (0..2_000)
            .map(|n| (format!("dir-{}/file-{n:04}.txt", n % 50), format!("needle {n}\n").into_bytes()));
        let tar = tar_of(files.chain([("run.sh".to_owned(), b"#!/bin/sh\necho ran\n".to_vec())]), &[]);
        toolbox.unpack(tar.as_slice()).await.unwrap();
        assert_eq!(ok(&toolbox, "find . -type f | wc -l; ./run.sh").await, "2001\nran\n");
        let request = ListFiles { path: String::new(), glob: Some("*.txt".to_owned()), entries_max: 1_500 };
        let listing = toolbox.list_files(&request).await.unwrap();
        assert_eq!((listing.entries.len(), listing.omitted), (1_500, 500));
        let request = Search {
            pattern: "needle 7$".to_owned(),
            literal: false,
            path: String::new(),
            glob: None,
            context_lines: 0,
            matches_max: 10,
        };
        let hits = toolbox.search(&request).await.unwrap();
        assert_eq!(
            (hits.matches, hits.lines[0].path.as_str(), hits.files_searched),
            (1, "dir-7/file-0007.txt", 2_001)
        );
        toolbox
    })
    .await;
}

async fn files_are_read_edited_written_and_collected(backend: Backend) {
    in_default_sandbox(backend, async |toolbox| {
        let tar = tar_of([("src/a.sh".to_owned(), b"one\r\ntwo\r\n".to_vec())], &[]);
        toolbox.unpack(tar.as_slice()).await.unwrap();
        let edits =
            vec![Edit { old: "one\ntwo".to_owned(), new: "one\nhalf\ntwo".to_owned(), after_line: None }];
        let edited = toolbox.edit_file(&EditFile { path: "src/a.sh".to_owned(), edits }).await.unwrap();
        assert_eq!(edited.excerpt, "1  one\n2  half\n3  two\n");
        let window = ReadFile { path: "src/a.sh".to_owned(), first_line: 2, lines_max: 1 };
        let window = toolbox.read_file(&window).await.unwrap();
        assert_eq!((window.text.as_str(), window.lines_total), ("half\r\n", 3));
        let write = WriteFile { path: "new/b.txt".to_owned(), content: "b".to_owned(), executable: None };
        assert!(toolbox.write_file(&write).await.unwrap().created);
        ok(&toolbox, r"printf '\000\377' > binary; : > empty; mkdir dir").await;
        let paths = ["src/a.sh", "new/b.txt", "binary", "empty", "dir", "gone", "src/a.sh/x"];
        let paths: Vec<RepoPath> = paths.iter().map(|path| path.parse().unwrap()).collect();
        let changes = toolbox.collect(&paths).await.unwrap();
        let file = |mode, bytes: &[u8]| ChangedContent::File { mode, bytes: bytes.to_vec() };
        let expected = [
            file(FileMode::Executable, b"one\r\nhalf\r\ntwo\r\n"),
            file(FileMode::Regular, b"b"),
            file(FileMode::Regular, b"\0\xff"),
            file(FileMode::Regular, b""),
            ChangedContent::Absent,
            ChangedContent::Absent,
            ChangedContent::Absent,
        ];
        assert_eq!(changes.iter().map(|change| change.path.clone()).collect::<Vec<_>>(), paths);
        assert_eq!(changes.into_iter().map(|change| change.content).collect::<Vec<_>>(), expected);
        toolbox
    })
    .await;
}

async fn file_calls_do_not_follow_symlinks_out_of_the_tree(backend: Backend) {
    in_default_sandbox(backend, async |toolbox| {
        let links =
            [("out", "/"), ("passwd", "/etc/passwd"), ("loop", "loop"), ("self", "."), ("up", "../../../..")];
        toolbox.unpack(tar_of([("real".to_owned(), b"x".to_vec())], &links).as_slice()).await.unwrap();
        assert_eq!(ok(&toolbox, "readlink passwd loop").await, "/etc/passwd\nloop\n");
        ok(&toolbox, "mkdir /tmp/outside").await;
        for path in ["out/tmp/outside/x", "passwd", "loop", "loop/x", "self/real", "up/tmp/outside/x"] {
            let write = WriteFile { path: path.to_owned(), content: "owned".to_owned(), executable: None };
            assert!(refusal(toolbox.write_file(&write).await).contains("symlink"), "{path}");
            let read = ReadFile { path: path.to_owned(), first_line: 1, lines_max: 1 };
            assert!(refusal(toolbox.read_file(&read).await).contains("symlink"), "{path}");
            let collected = toolbox.collect(&[path.parse().unwrap()]).await;
            assert!(refusal(collected).contains("symlink"), "{path}");
        }
        for path in ["../tmp/outside/x", "/tmp/outside/x", "a/../../tmp/outside/x", "\0", ""] {
            let write = WriteFile { path: path.to_owned(), content: "owned".to_owned(), executable: None };
            assert!(refusal(toolbox.write_file(&write).await).contains("cannot be used"), "{path:?}");
        }
        assert_eq!(ok(&toolbox, "ls /tmp/outside").await, "");
        let listing = ListFiles { path: String::new(), glob: None, entries_max: 100 };
        let listing = toolbox.list_files(&listing).await.unwrap();
        assert_eq!(listing.entries.iter().filter(|entry| entry.symlink).count(), 5);
        assert_eq!(listing.entries.len(), 6);
        toolbox
    })
    .await;
}

async fn special_and_large_files_are_not_collected(backend: Backend) {
    in_default_sandbox(backend, async |toolbox| {
        ok(&toolbox, "mkfifo fifo; truncate -s 6M big; for n in 1 2 3 4 5; do truncate -s 4500K b$n; done")
            .await;
        for (paths, why) in [
            (&["fifo"][..], "not a regular file"),
            (&["big"], "allowed for a file"),
            (&["b1", "b2", "b3", "b4", "b5"], "allowed in all"),
        ] {
            let paths: Vec<RepoPath> = paths.iter().map(|path| path.parse().unwrap()).collect();
            let message = refusal(toolbox.collect(&paths).await);
            assert!(message.contains(why), "{message}");
        }
        let many = vec!["x".parse::<RepoPath>().unwrap(); 2_001];
        assert!(refusal(toolbox.collect(&many).await).contains("2000 allowed"));
        toolbox
    })
    .await;
}
