use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::super::digest::digest_of;
use super::super::rootfs::{MOUNT_POINTS, MOUNTED_FILES, OWNER};
use super::super::tests::*;
use super::*;

mod limits;

/// A root file system in a directory next to files that must never change.
struct Unpacking {
    directory: tempfile::TempDir,
    root: RootFs,
    tally: Tally,
    limits: ImageLimits,
}

impl Unpacking {
    fn begin() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("rootfs")).unwrap();
        fs::create_dir(directory.path().join("outside")).unwrap();
        fs::write(directory.path().join("outside/secret"), "untouched").unwrap();
        let root = RootFs::begin(&directory.path().join("rootfs")).unwrap();
        Self { directory, root, tally: Tally::default(), limits: ImageLimits::default() }
    }

    fn layer_of(&mut self, bytes: &[u8], compression: Compression, diff_id: &str) -> Result<(), ImageError> {
        let path = self.directory.path().join("layer");
        fs::write(&path, bytes).unwrap();
        let layer = LayerFile { path: &path, compression, diff_id };
        let deadline = Deadline::starting_at(Instant::now(), Duration::from_secs(600));
        let outcome = unpack(&layer, &mut self.root, &mut self.tally, &self.limits, &deadline);
        fs::remove_file(&path).unwrap();
        self.assert_nothing_outside();
        outcome
    }

    fn layer(&mut self, entries: &[Vec<u8>]) -> Result<(), ImageError> {
        let tar = tar_of(entries);
        self.layer_of(&tar, Compression::None, &digest_of(&tar))
    }

    fn at(&self, path: &str) -> PathBuf {
        self.directory.path().join("rootfs").join(path)
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap()
    }

    fn is_there(&self, path: &str) -> bool {
        fs::symlink_metadata(self.at(path)).is_ok()
    }

    fn mode(&self, path: &str) -> u32 {
        fs::symlink_metadata(self.at(path)).unwrap().permissions().mode() & 0o7777
    }

    fn assert_nothing_outside(&self) {
        let names = |path: PathBuf| {
            let mut names: Vec<_> =
                fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(names(self.directory.path().into()), ["outside", "rootfs"]);
        let outside = self.directory.path().join("outside");
        assert_eq!(names(outside.clone()), ["secret"]);
        assert_eq!(fs::read_to_string(outside.join("secret")).unwrap(), "untouched");
        assert_eq!(fs::metadata(outside.join("secret")).unwrap().nlink(), 1);
    }
}

/// Unpacks an image with these layers.
fn unpacked(layers: &[&[Vec<u8>]]) -> Unpacking {
    let mut unpacking = Unpacking::begin();
    for layer in layers {
        unpacking.layer(layer).unwrap();
    }
    unpacking
}

#[test]
fn files_directories_symlinks_and_times_are_unpacked() {
    let image = unpacked(&[&[
        directory("./", 0o700),
        directory("./bin/", 0o755),
        file_with_mode("bin/tool", 0o755, "#!"),
        file("deep/er/plain", "text"),
        symlink("link", "/etc/passwd"),
        symlink("dangling", "../../nowhere"),
        file("empty", ""),
    ]]);
    assert_eq!((image.mode("bin/tool"), image.mode("deep/er/plain"), image.mode("")), (0o755, 0o644, 0o755));
    assert_eq!((image.read("deep/er/plain"), image.read("empty")), ("text".to_owned(), String::new()));
    assert_eq!(fs::read_link(image.at("link")).unwrap(), Path::new("/etc/passwd"));
    assert_eq!(fs::read_link(image.at("dangling")).unwrap(), Path::new("../../nowhere"));
    assert_eq!(fs::metadata(image.at("bin/tool")).unwrap().mtime(), 1_600_000_000);
}

#[test]
fn all_entries_belong_to_the_image_owner() {
    let image = unpacked(&[&[file("deep/file", "x"), symlink("link", "x"), hard_link("hard", "deep/file")]]);
    let expected = if nix::unistd::geteuid().is_root() { OWNER } else { nix::unistd::geteuid().as_raw() };
    for path in ["", "deep", "deep/file", "link", "hard"] {
        let found = fs::symlink_metadata(image.at(path)).unwrap();
        assert_eq!(found.uid(), expected, "{path}");
    }
}

#[test]
fn long_names_and_names_that_are_not_utf8_are_unpacked() {
    let long = format!("{}/{}", "d".repeat(200), "f".repeat(200));
    let image = unpacked(&[&[
        raw(FILE, b"caf\xe9", 0o644, 1, b"", b"1"),
        raw(b'L', b"././@LongLink", 0, long.len() as u64 + 1, b"", format!("{long}\0").as_bytes()),
        file("cut", "2"),
        pax(&[(b"path", "größe".as_bytes()), (b"mtime", b"1234.5"), (b"SCHILY.xattr.user.x", b"a\nb\0c")]),
        file("cut", "3"),
        pax(&[(b"linkpath", long.as_bytes())]),
        symlink("long-link", "cut"),
    ]]);
    assert_eq!(fs::read(image.at("").join(OsStr::from_bytes(b"caf\xe9"))).unwrap(), b"1");
    assert_eq!((image.read(&long), image.read("größe")), ("2".to_owned(), "3".to_owned()));
    assert_eq!(fs::metadata(image.at("größe")).unwrap().mtime(), 1234);
    assert_eq!(fs::read_link(image.at("long-link")).unwrap(), Path::new(&long));
    assert!(!image.is_there("cut"));
}

#[test]
fn absolute_path_starts_at_the_images_root() {
    let image = unpacked(&[&[file("/mendwright-absolute", "x"), hard_link("/b", "/mendwright-absolute")]]);
    assert_eq!((image.read("mendwright-absolute"), image.read("b")), ("x".to_owned(), "x".to_owned()));
    assert!(!Path::new("/mendwright-absolute").exists());
}

#[test]
fn entry_that_would_leave_the_root_is_refused() {
    let outside = || symlink("out", "../outside");
    let secret = "outside/secret";
    for hostile in [
        vec![file("../x", "x")],
        vec![file("a/../../outside/secret", "x")],
        vec![file("..", "x")],
        vec![outside(), file("out/secret", "x")],
        vec![symlink("out", "/etc"), file("out/mendwright", "x")],
        vec![outside(), directory("out/new", 0o755)],
        vec![outside(), symlink("out/new", "x")],
        vec![outside(), hard_link("out/new", "out")],
        vec![outside(), hard_link("stolen", "out/secret")],
        vec![hard_link("stolen", "../outside/secret")],
        vec![hard_link("stolen", secret)],
        vec![symlink("a", "b"), symlink("b", "../outside"), file("a/secret", "x")],
        vec![directory("a", 0o755), symlink("a/out", "../../outside"), file("a/out/x", "x")],
        vec![hard_link("itself", "itself")],
        vec![directory("d", 0o755), hard_link("e", "d")],
        vec![directory("d", 0o755), file("d/f", "x"), hard_link("d", "d/f")],
        vec![file(".", "x")],
        vec![file("f", "x"), file("f/g", "x")],
        vec![symlink("empty", "")],
        vec![pax(&[(b"path", b"a\0b")]), file("x", "x")],
    ] {
        let outcome = Unpacking::begin().layer(&hostile);
        assert!(matches!(outcome, Err(ImageError::Entry { .. })), "{outcome:?}");
    }
}

#[test]
fn entry_of_a_later_layer_cannot_leave_the_root() {
    let mut image = unpacked(&[&[symlink("out", "../outside"), symlink("abs", "/etc")]]);
    assert!(image.layer(&[file("out/secret", "x")]).is_err());
    assert!(image.layer(&[file("abs/mendwright", "x")]).is_err());
    // The file replaces the link, and is not written through it.
    image.layer(&[directory("out", 0o755), file("out/secret", "x")]).unwrap();
    assert_eq!(image.read("out/secret"), "x");
}

#[test]
fn hard_link_to_a_symlink_is_the_symlink() {
    let image = unpacked(&[&[symlink("link", "../outside/secret"), hard_link("hard", "link")]]);
    assert_eq!(fs::read_link(image.at("hard")).unwrap(), Path::new("../outside/secret"));
    let mut image = image;
    image.layer(&[file("hard", "mine")]).unwrap();
    assert_eq!(image.read("hard"), "mine");
}

#[test]
fn file_that_replaces_a_hard_link_does_not_change_the_other_name() {
    let image = unpacked(&[&[file("a", "old"), hard_link("b", "a")], &[file("b", "new")]]);
    assert_eq!((image.read("a"), image.read("b")), ("old".to_owned(), "new".to_owned()));
}

#[test]
fn whiteout_removes_entries_of_lower_layers() {
    let image = unpacked(&[
        &[file("a", "1"), file("d/e/f", "1"), file("d/g", "1"), symlink("l", "d"), file("kept", "1")],
        &[
            file(".wh.a", ""),
            file("d/.wh.e", ""),
            file(".wh.l", ""),
            file(".wh.never-there", ""),
            file("x/.wh.y", ""),
        ],
    ]);
    for gone in ["a", "d/e", "l", ".wh.a", "d/.wh.e", "x"] {
        assert!(!image.is_there(gone), "{gone} is there");
    }
    assert_eq!((image.read("d/g"), image.read("kept")), ("1".to_owned(), "1".to_owned()));
}

#[test]
fn whiteout_does_not_remove_entries_of_its_own_layer() {
    for order in [[0, 1], [1, 0]] {
        let entries = [file(".wh.a", ""), file("a", "2")];
        let image = unpacked(&[&[file("a/below", "1")], &order.map(|index| entries[index].clone())]);
        assert_eq!(image.read("a"), "2");
    }
    let image = unpacked(&[
        &[file("d/below", "1"), file("d/sub/below", "1")],
        &[file("d/sub/own", "2"), file("d/own", "2"), file("d/.wh..wh..opq", "")],
    ]);
    assert_eq!((image.read("d/own"), image.read("d/sub/own")), ("2".to_owned(), "2".to_owned()));
    assert!(
        !image.is_there("d/below") && !image.is_there("d/sub/below") && !image.is_there("d/.wh..wh..opq")
    );
}

#[test]
fn whiteout_removes_nothing_outside_of_the_root() {
    for hostile in [".wh...", ".wh..", ".wh.", "a/.wh...", "../.wh.outside", "a/../../.wh.outside"] {
        let mut image = unpacked(&[&[directory("a", 0o755)]]);
        assert!(matches!(image.layer(&[file(hostile, "")]), Err(ImageError::Entry { .. })), "{hostile}");
    }
    // There is nothing of the image below a link.
    let mut image = unpacked(&[&[symlink("out", "../outside")]]);
    image.layer(&[file("out/.wh.secret", "")]).unwrap();
    image.layer(&[file("out/.wh..wh..opq", "")]).unwrap();
    // Reserved by a storage driver, so it has no content.
    image.layer(&[file(".wh..wh.plnk", "x"), directory(".wh..wh.aufs", 0o700)]).unwrap();
    assert!(!image.is_there(".wh..wh.plnk") && !image.is_there(".wh..wh.aufs"));
}

#[test]
fn devices_and_pipes_are_omitted_and_counted() {
    let image = unpacked(&[&[
        raw(DEVICE, b"dev/sda", 0o666, 0, b"", b""),
        raw(FIFO, b"pipe", 0o666, 0, b"", b""),
        file("f", "x"),
    ]]);
    assert!(!image.is_there("dev/sda") && !image.is_there("pipe"));
    assert_eq!((image.tally.skipped, image.tally.entries), (2, 3));
}

#[test]
fn setuid_bits_and_capabilities_are_removed() {
    let image = unpacked(&[&[
        file_with_mode("su", 0o6755, "x"),
        file_with_mode("sticky", 0o1777, "x"),
        directory("shared", 0o3777),
        pax(&[(b"SCHILY.xattr.security.capability", b"\x01\0\0\x02\n\x20\0\0")]),
        file("ping", "x"),
    ]]);
    assert_eq!(["su", "sticky", "shared", "ping"].map(|path| image.mode(path)), [0o755, 0o777, 0o777, 0o644]);
    let attributes = std::process::Command::new("python3")
        .args(["-c", "import os,sys; print(os.listxattr(sys.argv[1]))"])
        .arg(image.at("ping"))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&attributes.stdout), "[]\n");
}

#[test]
fn entries_without_permissions_can_be_read_and_removed_by_the_owner() {
    let mut image = unpacked(&[&[directory("d", 0), file_with_mode("d/f", 0, "x"), directory("d/e", 0o555)]]);
    assert_eq!((image.mode("d"), image.mode("d/f"), image.mode("d/e")), (0o700, 0o400, 0o755));
    image.layer(&[file("d/e/new", "x"), file("d/.wh.f", "")]).unwrap();
}

#[test]
fn directories_files_and_links_replace_each_other() {
    let image = unpacked(&[
        &[
            file("a/b/c", "1"),
            file("f", "1"),
            symlink("l", "a"),
            file("kept/x", "1"),
            directory("kept", 0o700),
        ],
        &[
            file("a", "2"),
            file("f/g", "2"),
            directory("l", 0o755),
            file("l/x", "2"),
            directory("kept", 0o755),
        ]
        .into_iter()
        .enumerate()
        // A directory with its own entry replaces a file.
        .flat_map(|(at, entry)| if at == 1 { vec![directory("f", 0o755), entry] } else { vec![entry] })
        .collect::<Vec<_>>(),
        &[symlink("kept", "a")],
    ]);
    assert_eq!(
        (image.read("a"), image.read("f/g"), image.read("l/x")),
        ("2".to_owned(), "2".to_owned(), "2".to_owned())
    );
    assert_eq!(fs::read_link(image.at("kept")).unwrap(), Path::new("a"));
}

#[test]
fn layer_that_does_not_match_its_digest_leaves_nothing() {
    let mut image = Unpacking::begin();
    let tar = tar_of(&[file("a", "x"), file(".wh.b", "")]);
    let outcome = image.layer_of(&tar, Compression::None, &digest_of(b"something else"));
    assert!(matches!(outcome, Err(ImageError::Digest { .. })), "{outcome:?}");
    assert_eq!(fs::read_dir(image.at("")).unwrap().count(), 0);
}

#[test]
fn mount_points_are_real_directories_whatever_the_image_has() {
    let mut image = unpacked(&[&[
        symlink("tmp", "../outside"),
        symlink("home", "var/home"),
        file("run", "x"),
        symlink("etc/resolv.conf", "../../outside/secret"),
        file("etc/passwd", "root"),
        directory("proc", 0o555),
        symlink("dev", "/dev"),
    ]]);
    image.root.create_mount_points().unwrap();
    image.assert_nothing_outside();
    for path in MOUNT_POINTS {
        assert!(fs::symlink_metadata(image.at(path)).unwrap().is_dir(), "{path}");
    }
    for path in MOUNTED_FILES {
        assert!(fs::symlink_metadata(image.at(path)).unwrap().is_file(), "{path}");
    }
    assert_eq!((image.read("etc/passwd"), image.read("etc/resolv.conf")), ("root".to_owned(), String::new()));
    // A second call changes nothing.
    image.root.create_mount_points().unwrap();
    assert_eq!(image.read("etc/passwd"), "root");
}

#[test]
fn unpacking_stops_when_abandoned_or_late() {
    let image = Unpacking::begin();
    let path = image.directory.path().join("layer");
    let tar = tar_of(&[file("a", "x")]);
    fs::write(&path, &tar).unwrap();
    let digest = digest_of(&tar);
    let attempt = |deadline: &Deadline| {
        let layer = LayerFile { path: &path, compression: Compression::None, diff_id: &digest };
        let mut root = RootFs::begin(&image.at("")).unwrap();
        unpack(&layer, &mut root, &mut Tally::default(), &image.limits, deadline)
    };
    let late = Deadline::starting_at(Instant::now(), Duration::ZERO);
    assert!(matches!(attempt(&late), Err(ImageError::Time { .. })));
    let abandoned = Deadline::starting_at(Instant::now(), Duration::from_secs(600));
    drop(abandoned.abandon_on_drop());
    assert!(matches!(attempt(&abandoned), Err(ImageError::Abandoned)));
}

/// Entries that conflict with each other, and that would leave the directory if possible.
fn any_entry() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        "[ab]",
        Just("..".to_owned()),
        Just(".".to_owned()),
        "\\.wh\\.[ab]",
        Just(".wh..wh..opq".to_owned())
    ];
    let path = prop::collection::vec(part, 1..4).prop_map(|parts| parts.join("/"));
    let target = prop_oneof![
        path.clone(),
        Just("../outside".to_owned()),
        Just("../../outside/secret".to_owned()),
        Just("/".to_owned())
    ];
    (prop_oneof![Just(FILE), Just(HARD_LINK), Just(SYMLINK), Just(DIRECTORY), Just(DEVICE)], path, target)
        .prop_map(|(kind, path, target)| {
            let content: &[u8] = if kind == FILE { b"x" } else { b"" };
            let target: &[u8] = if matches!(kind, HARD_LINK | SYMLINK) { target.as_bytes() } else { b"" };
            raw(kind, path.as_bytes(), 0o755, content.len() as u64, target, content)
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_sequence_of_entries_touches_anything_outside(layers in prop::collection::vec(prop::collection::vec(any_entry(), 1..8), 1..4)) {
        let mut image = Unpacking::begin();
        for layer in layers {
            // It may be refused or not. Each call checks the files outside.
            let _ = image.layer(&layer);
        }
        image.root.create_mount_points().unwrap();
        image.assert_nothing_outside();
    }
}
