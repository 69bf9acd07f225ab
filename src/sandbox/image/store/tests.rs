use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::digest::digest_of;
use super::super::manifest::architecture;
use super::super::tests::*;
use super::*;
use crate::sandbox::spec::CacheLimits;

const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// A directory with an image layout and a store.
struct Fixture {
    directory: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn layout(&self) -> PathBuf {
        self.directory.path().join("layout")
    }

    fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    fn store(&self) -> ImageStore {
        ImageStore::with_limits(
            self.state(),
            ImageLimits { time_max: Duration::from_secs(120), ..ImageLimits::default() },
        )
    }

    fn reference(&self, rest: &str) -> String {
        format!("oci:{}{rest}", self.layout().display())
    }

    async fn refused(&self, rest: &str) -> String {
        let error = self.store().resolve(&self.reference(rest)).await.unwrap_err().to_string();
        assert_eq!(self.images(), BTreeMap::new(), "the failed attempt left something: {error}");
        error.replace(&self.directory.path().display().to_string(), "DIR")
    }

    /// The files of the store, without locks.
    fn images(&self) -> BTreeMap<String, bool> {
        let Ok(entries) = fs::read_dir(self.state().join("images")) else { return BTreeMap::new() };
        let names = entries.map(|entry| entry.unwrap());
        let kept = names.filter(|entry| !entry.file_name().to_string_lossy().ends_with(".lock"));
        kept.map(|entry| (entry.file_name().into_string().unwrap(), entry.path().is_dir())).collect()
    }
}

fn digest(descriptor: &Value) -> String {
    descriptor["digest"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn layout_image_is_unpacked_with_its_environment() {
    let fixture = Fixture::new();
    let path = fixture.layout();
    let mut layout = Layout::new(&path);
    let manifest = layout
        .image(&[tar_of(&[file("a", "1"), file("b", "1")]), tar_of(&[file("a", "2"), file(".wh.b", "")])]);
    layout.name(manifest.clone(), "1.0");
    let image = fixture.store().resolve(&fixture.reference(":1.0")).await.unwrap();
    assert_eq!(image.digest, digest(&manifest));
    assert_eq!(image.path.as_deref(), Some("/opt/bin:/usr/bin"));
    assert_eq!(image.env, [("LANG".to_owned(), "C.UTF-8".to_owned())]);
    assert_eq!(fs::read_to_string(image.root.join("a")).unwrap(), "2");
    assert!(!image.root.join("b").exists() && image.root.join("workspace").is_dir());
    assert_eq!(image.reference, fixture.reference(&format!("@{}", image.digest)));
    for private in [fixture.state(), fixture.state().join("images"), image.root.parent().unwrap().into()] {
        assert_eq!(fs::metadata(&private).unwrap().mode() & 0o777, 0o700, "{private:?}");
    }
    assert_eq!(fs::metadata(&image.root).unwrap().mode() & 0o777, 0o755);
}

#[tokio::test]
async fn stored_digest_needs_no_source_but_a_tag_does() {
    let fixture = Fixture::new();
    let path = fixture.layout();
    let mut layout = Layout::new(&path);
    layout.name(layout.image(&[tar_of(&[file("a", "1")])]), "1");
    let first = fixture.store().resolve(&fixture.reference(":1")).await.unwrap();
    layout.name(layout.image(&[tar_of(&[file("a", "2")])]), "1");
    let second = fixture.store().resolve(&fixture.reference(":1")).await.unwrap();
    assert_ne!(first.digest, second.digest);
    fs::remove_dir_all(&path).unwrap();
    let again = fixture.store().resolve(&first.reference).await.unwrap();
    assert_eq!((again.digest, again.root), (first.digest, first.root));
    assert!(fixture.store().resolve(&fixture.reference(":1")).await.is_err());
}

#[tokio::test]
async fn index_resolves_to_the_image_for_this_machine() {
    let fixture = Fixture::new();
    let path = fixture.layout();
    let mut layout = Layout::new(&path);
    let mut ours = layout.image(&[tar_of(&[file("a", "ours")])]);
    ours["platform"] = json!({"os": "linux", "architecture": architecture()});
    let mut other = layout.manifest(&[], ("linux", "vax"));
    other["platform"] = json!({"os": "linux", "architecture": "vax"});
    let kind = "application/vnd.oci.image.index.v1+json";
    let index = |manifests: &[&Value]| json!({"schemaVersion": 2, "mediaType": kind, "manifests": manifests});
    let both = layout.blob(kind, index(&[&other, &ours]).to_string().as_bytes());
    layout.name(both.clone(), "both");
    layout.name(layout.blob(kind, index(&[&other]).to_string().as_bytes()), "other");
    let error = fixture.refused(":other").await;
    assert!(error.contains(&format!("no image for linux/{}, only for linux/vax", architecture())), "{error}");
    let by_index = fixture.reference(&format!("@{}", digest(&both)));
    let image = fixture.store().resolve(&by_index).await.unwrap();
    assert_eq!(image.digest, digest(&ours));
    fs::remove_dir_all(&path).unwrap();
    assert_eq!(fixture.store().resolve(&by_index).await.unwrap().root, image.root);
}

#[tokio::test]
async fn archives_of_a_layout_and_of_docker_save_are_unpacked() {
    let fixture = Fixture::new();
    let path = fixture.layout();
    let mut layout = Layout::new(&path);
    layout.name(layout.image(&[tar_of(&[file("a", "archived")])]), "1");
    let archive = fixture.directory.path().join("layout.tar");
    let mut builder = tar::Builder::new(File::create(&archive).unwrap());
    builder.append_dir_all(".", &path).unwrap();
    builder.finish().unwrap();
    let image = fixture.store().resolve(&format!("oci-archive:{}:1", archive.display())).await.unwrap();
    assert_eq!(fs::read_to_string(image.root.join("a")).unwrap(), "archived");

    // As Docker 20.10 writes it: layers in directories, and a second copy as a symlink.
    let layers = [tar_of(&[file("a", "saved"), file("b", "1")]), tar_of(&[file(".wh.b", "")])];
    let diff_ids = [&layers[0], &layers[1], &layers[0]].map(|layer| digest_of(layer));
    let config = json!({"os": "linux", "architecture": architecture(), "rootfs": {"type": "layers", "diff_ids": diff_ids}});
    let config = config.to_string();
    let list = json!([{"Config": "c.json", "RepoTags": ["tool:1"], "Layers": ["1/layer.tar", "2/layer.tar", "3/layer.tar"]}]);
    let whole = [
        file("c.json", &config),
        raw(FILE, b"1/layer.tar", 0o644, layers[0].len() as u64, b"", &layers[0]),
        raw(FILE, b"2/layer.tar", 0o644, layers[1].len() as u64, b"", &layers[1]),
        symlink("3/layer.tar", "../1/layer.tar"),
        symlink("4/layer.tar", "../../../etc/passwd"),
        file("manifest.json", &list.to_string()),
    ];
    let saved = fixture.directory.path().join("saved.tar");
    fs::write(&saved, tar_of(&whole)).unwrap();
    let reference = format!("oci-archive:{}", saved.display());
    for tag in ["", ":1", ":tool:1"] {
        let image = fixture.store().resolve(&format!("{reference}{tag}")).await;
        // A tag has no ':', so the rest names a file that does not exist.
        let Ok(image) = image else {
            assert_eq!(tag, ":tool:1");
            continue;
        };
        assert_eq!(image.digest, digest_of(config.as_bytes()));
        assert_eq!(fs::read_to_string(image.root.join("a")).unwrap(), "saved");
        assert_eq!(image.reference, format!("{reference}@{}", image.digest));
    }
    assert!(
        fixture
            .store()
            .resolve(&format!("{reference}:2"))
            .await
            .unwrap_err()
            .to_string()
            .contains("names tool:1")
    );
    fs::write(&saved, gzip(&tar_of(&whole))).unwrap();
    let error = fixture.store().resolve(&reference).await.unwrap_err().to_string();
    assert!(error.contains("is not an uncompressed tar"), "{error}");
}

#[tokio::test]
async fn content_that_does_not_match_its_digest_is_refused_and_leaves_nothing() {
    let tar = tar_of(&[file("a", "x")]);
    let good = digest_of(&tar);
    for (layer, diff_id, damage, expected) in [
        (gzip(&tar), good.clone(), "size", "has more bytes instead of"),
        (gzip(&tar), good.clone(), "content", "a layer has the digest sha256:"),
        (gzip(&tar), digest_of(b"else"), "none", "an uncompressed layer has the digest sha256:"),
        (gzip(&tar)[..40].to_vec(), good.clone(), "none", "the compressed data of a layer is malformed"),
        (tar.clone(), good.clone(), "none", "the compressed data of a layer is malformed"),
        (
            gzip(&tar_of(&[file("../x", "x")])),
            digest_of(&tar_of(&[file("../x", "x")])),
            "none",
            "leads out of the image",
        ),
    ] {
        let fixture = Fixture::new();
        let path = fixture.layout();
        let mut layout = Layout::new(&path);
        let blob = path.join("blobs/sha256").join(&digest_of(&layer)[7..]);
        layout.name(layout.manifest(&[(GZIP, layer.clone(), diff_id)], ("linux", architecture())), "1");
        match damage {
            "size" => fs::write(&blob, [layer, vec![0]].concat()).unwrap(),
            "content" => fs::write(&blob, [&layer[..10], b"!", &layer[11..]].concat()).unwrap(),
            _ => {}
        }
        let error = fixture.refused(":1").await;
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn unavailable_image_is_an_error_with_a_remedy() {
    let fixture = Fixture::new();
    let path = fixture.layout();
    let nothing = fixture.refused(":1").await;
    let mut layout = Layout::new(&path);
    layout.name(layout.image(&[]), "1");
    let unknown = fixture.refused(":2").await;
    let mut helm = layout.image(&[]);
    let config = layout.blob("application/vnd.cncf.helm.config.v1+json", b"{}");
    helm["digest"] = layout.manifest_of(&config, &[])["digest"].clone();
    helm["size"] = layout.manifest_of(&config, &[])["size"].clone();
    layout.name(helm, "chart");
    let chart = fixture.refused(":chart").await;
    let missing = layout.blob(GZIP, b"to be removed");
    fs::remove_file(path.join("blobs/sha256").join(&digest(&missing)[7..])).unwrap();
    layout.name(missing, "gone");
    let gone = fixture.refused(":gone").await.replace(&digest_of(b"to be removed")[7..], "HEX");
    let all = [nothing, unknown, chart, gone].join("\n");
    insta::assert_snapshot!(all, @"
    the sandbox cannot be used: the image 'oci:DIR/layout:1': it is not an image: there is no index.json in DIR/layout, so it is not an OCI image layout; name a container image with gzip, zstd or uncompressed layers
    the sandbox cannot be used: the image 'oci:DIR/layout:2': the local index (which names 1) has no such image; check the name, the tag and the digest
    the sandbox cannot be used: the image 'oci:DIR/layout:chart': it is not an image: its configuration is of the media type application/vnd.cncf.helm.config.v1+json; name a container image with gzip, zstd or uncompressed layers
    the sandbox cannot be used: the image 'oci:DIR/layout:gone': DIR/layout/blobs/sha256/HEX has no such image; check the name, the tag and the digest
    ");
}

#[tokio::test]
async fn concurrent_requests_unpack_an_image_once() {
    let fixture = Fixture::new();
    let path = fixture.layout();
    let mut layout = Layout::new(&path);
    layout.name(layout.image(&[tar_of(&[file("a", &"x".repeat(100_000))])]), "1");
    let reference = fixture.reference(":1");
    // Each with its own store, as in separate processes: locks belong to open files.
    let wanted = (0..8).map(|_| {
        let (store, reference) = (fixture.store(), reference.clone());
        tokio::spawn(async move { store.resolve(&reference).await.unwrap() })
    });
    let mut inodes = std::collections::BTreeSet::new();
    for task in wanted.collect::<Vec<_>>() {
        let image = task.await.unwrap();
        inodes.insert(fs::metadata(image.root.join("a")).unwrap().ino());
    }
    assert_eq!(inodes.len(), 1);
    assert_eq!(fixture.images().len(), 1);
}

#[tokio::test]
async fn partial_image_is_not_used_and_is_swept() {
    let fixture = Fixture::new();
    let path = fixture.layout();
    let mut layout = Layout::new(&path);
    let manifest = layout.image(&[tar_of(&[file("a", "whole")])]);
    layout.name(manifest.clone(), "1");
    let hex = digest(&manifest)[7..].to_owned();
    let images = fixture.state().join("images");
    let half = |directory: PathBuf| {
        fs::create_dir_all(directory.join("rootfs")).unwrap();
        fs::write(directory.join("rootfs/a"), "half").unwrap();
    };
    half(images.join(format!("{hex}.partial")));
    // A directory without a record, or with one of another format, is not an image either.
    half(images.join(&hex));
    let image = fixture.store().resolve(&fixture.reference(":1")).await.unwrap();
    assert_eq!(fs::read_to_string(image.root.join("a")).unwrap(), "whole");
    half(images.join(format!("{}.partial", "0".repeat(64))));
    half(images.join(format!("{}.partial", "1".repeat(64))));
    // Another process is creating one of them.
    let lock = images.join(format!("{}.lock", "1".repeat(64)));
    let held = Lock::try_now(&lock, LockMode::Exclusive).unwrap().unwrap();
    assert_eq!(fixture.store().sweep().await.unwrap(), 1);
    drop(held);
    assert_eq!(fixture.store().sweep().await.unwrap(), 1);
    assert_eq!(fixture.images().into_keys().collect::<Vec<_>>(), [hex]);
    assert_eq!(Fixture::new().store().sweep().await.unwrap(), 0);
}

#[tokio::test]
async fn eviction_removes_the_least_recently_used_image_that_is_not_in_use() {
    let fixture = Fixture::new();
    let path = fixture.layout();
    let mut layout = Layout::new(&path);
    let store = fixture.store();
    let mut digests = Vec::new();
    for (age, tag) in ["0", "1", "2", "3"].into_iter().enumerate() {
        layout.name(layout.image(&[tar_of(&[file("a", tag)])]), tag);
        let image = store.resolve(&fixture.reference(&format!(":{tag}"))).await.unwrap();
        let used = SystemTime::now() - Duration::from_secs(1000 - age as u64);
        let record = image.root.parent().unwrap().join(RECORD);
        File::options().write(true).open(record).unwrap().set_modified(used).unwrap();
        digests.push(image.digest);
    }
    let evict = async |count_max, bytes_max, age_seconds| {
        let limits = CacheLimits { count_max, bytes_max, age_max: Duration::from_secs(age_seconds) };
        store.evict(&limits, SystemTime::now()).await.unwrap()
    };
    assert_eq!(evict(4, u64::MAX, 5000).await, [""; 0]);
    // The oldest image is used again; a sandbox uses the next one.
    drop(store.resolve(&fixture.reference(":0")).await.unwrap());
    let held = store.resolve(&fixture.reference(":1")).await.unwrap();
    assert_eq!(
        evict(9, u64::MAX, 998).await,
        [digests[2].clone()],
        "only the image that was unused for so long"
    );
    assert_eq!(evict(0, 0, 5000).await, [digests[3].clone(), digests[0].clone()]);
    assert!(held.root.join("a").exists());
    drop(held);
    assert_eq!(evict(5, 0, 5000).await, digests[1..2]);
    assert_eq!(fs::read_dir(fixture.state().join("images")).unwrap().count(), 0);
    // It can be unpacked again.
    store.resolve(&fixture.reference(":1")).await.unwrap();
}

#[tokio::test]
async fn state_directory_that_others_can_change_is_refused_or_made_private() {
    let fixture = Fixture::new();
    let path = fixture.layout();
    let mut layout = Layout::new(&path);
    layout.name(layout.image(&[]), "1");
    fs::create_dir(fixture.directory.path().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink("elsewhere", fixture.state()).unwrap();
    let error = fixture.store().resolve(&fixture.reference(":1")).await.unwrap_err().to_string();
    assert!(error.contains("is a symlink; use the directory itself"), "{error}");
    fs::remove_file(fixture.state()).unwrap();
    fs::create_dir(fixture.state()).unwrap();
    fs::set_permissions(fixture.state(), fs::Permissions::from_mode(0o777)).unwrap();
    fixture.store().resolve(&fixture.reference(":1")).await.unwrap();
    assert_eq!(fs::metadata(fixture.state()).unwrap().mode() & 0o777, 0o700);
}

#[test]
fn full_disk_is_named_in_the_error() {
    let error = io::Error::from_raw_os_error(nix::libc::ENOSPC);
    let error = ImageError::disk("writing", Path::new("/var/lib/x"), error);
    insta::assert_snapshot!(error.for_image("h.example/x:1"), @"the sandbox cannot be used: the image 'h.example/x:1': the disk is full at /var/lib/x; free some space there, or move the data directory to a larger disk");
    let quota = ImageError::system(b"usr/bin/x", nix::errno::Errno::EDQUOT);
    assert!(matches!(quota, ImageError::DiskFull { .. }));
}
