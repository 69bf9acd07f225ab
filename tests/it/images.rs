//! Images from a real registry (Debian's docker-registry, on loopback), unpacked without a daemon: what is
//! pulled, what is requested again, and what happens if the registry is wrong or gone.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use mendwright::sandbox::ImageStore;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use crate::support::WAIT_MAX;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const GZIP_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const ZSTD_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
const TAR_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// An empty registry of the test.
struct Registry {
    directory: tempfile::TempDir,
    address: SocketAddr,
    process: Child,
}

impl Registry {
    async fn start() -> Self {
        Self::start_with("").await
    }

    /// The same, with more configuration.
    async fn start_with(more: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let configuration = directory.path().join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {}/data}}}}\nhttp: {{addr: '127.0.0.1:0'}}\n{more}",
            directory.path().display()
        );
        fs::write(&configuration, text).unwrap();
        let mut process = Command::new("docker-registry")
            .arg("serve")
            .arg(&configuration)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the package docker-registry is installed");
        let mut stderr = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = tokio::time::timeout(WAIT_MAX, async {
            loop {
                let line = stderr.next_line().await.unwrap().expect("docker-registry listens");
                if let Some((_, rest)) = line.split_once("listening on ") {
                    break rest.split(['"', ' ']).next().unwrap().parse().unwrap();
                }
            }
        });
        let address = address.await.expect("docker-registry starts");
        tokio::spawn(async move { while let Ok(Some(_)) = stderr.next_line().await {} });
        Self { directory, address, process }
    }

    async fn blob(&self, media_type: &str, bytes: Vec<u8>) -> Value {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let (digest, size) = (digest_of(&bytes), bytes.len());
        let uploads = format!("http://{}/v2/team/tool/blobs/uploads/", self.address);
        let begun = client.post(uploads).header("authorization", "x").send().await.unwrap();
        assert_eq!(begun.status(), 202);
        let mut place = url::Url::parse(begun.headers()["location"].to_str().unwrap()).unwrap();
        place.query_pairs_mut().append_pair("digest", &digest);
        let request = client.put(place).header("authorization", "x").body(bytes);
        assert_eq!(request.send().await.unwrap().status(), 201);
        json!({"mediaType": media_type, "digest": digest, "size": size})
    }

    async fn document(&self, reference: &str, media_type: &str, document: &Value) -> Value {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("http://{}/v2/team/tool/manifests/{reference}", self.address);
        let bytes = document.to_string().into_bytes();
        let descriptor = json!({"mediaType": media_type, "digest": digest_of(&bytes), "size": bytes.len()});
        let request =
            client.put(url).header("content-type", media_type).header("authorization", "x").body(bytes);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 201, "{}", response.text().await.unwrap());
        descriptor
    }

    /// Uploads an image with a tag. Each layer is a media type, its compressed and its uncompressed bytes.
    async fn image(&self, tag: &str, layers: Vec<(&str, Vec<u8>, &[u8])>) -> Value {
        let diff_ids: Vec<_> = layers.iter().map(|(_, _, tar)| digest_of(tar)).collect();
        let config = json!({
            "os": "linux", "architecture": architecture(), "config": {"Env": ["PATH=/opt/bin"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = self.blob(CONFIG, config.to_string().into_bytes()).await;
        let mut descriptors = Vec::new();
        for (media_type, bytes, _) in layers {
            descriptors.push(self.blob(media_type, bytes).await);
        }
        let manifest =
            json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": descriptors});
        self.document(tag, MANIFEST, &manifest).await
    }

    fn reference(&self, rest: &str) -> String {
        format!("{}/team/tool{rest}", self.address)
    }

    /// The file in which the registry stores a blob.
    fn stored(&self, digest: &str) -> PathBuf {
        let hex = &digest["sha256:".len()..];
        let blobs = self.directory.path().join("data/docker/registry/v2/blobs/sha256");
        blobs.join(&hex[..2]).join(hex).join("data")
    }

    async fn stop(mut self) {
        self.process.kill().await.unwrap();
    }
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

fn tar_of(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, path, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

fn layer(files: &[(&str, &str)]) -> (Vec<u8>, Vec<u8>) {
    let tar = tar_of(files);
    (gzip(&tar), tar)
}

/// The error. Checks that the attempt left nothing but locks.
async fn refused(state: &Path, reference: &str) -> String {
    let error = ImageStore::new(state.to_owned()).resolve(reference).await.unwrap_err().to_string();
    for entry in fs::read_dir(state.join("images")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(name.ends_with(".lock"), "the attempt left {name}: {error}");
    }
    error
}

/// A proxy to the registry. Of the response to a request that names `digest` it passes on only the beginning.
async fn cutting(registry: SocketAddr, digest: String) -> (SocketAddr, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, cuts) = (listener.local_addr().unwrap(), Arc::new(AtomicU32::new(0)));
    let counted = Arc::clone(&cuts);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (digest, counted) = (digest.clone(), Arc::clone(&counted));
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await?);
                }
                let text = String::from_utf8(head).unwrap();
                let mut server = TcpStream::connect(registry).await?;
                let once = format!("{}\r\nconnection: close\r\n\r\n", text.trim_end());
                server.write_all(once.as_bytes()).await?;
                let is_cut = text.contains(&digest);
                let mut response = server.take(if is_cut { 2000 } else { u64::MAX });
                tokio::io::copy(&mut response, &mut client).await?;
                counted.fetch_add(u32::from(is_cut), Ordering::Relaxed);
                client.shutdown().await
            });
        }
    });
    (address, cuts)
}

#[tokio::test]
#[ignore = "needs docker-registry"]
async fn pulled_image_is_unpacked_and_its_digest_is_not_requested_again() {
    let registry = Registry::start().await;
    let state = tempfile::tempdir().unwrap();
    let store = ImageStore::new(state.path().join("state"));
    let (base, base_tar) = layer(&[("bin/tool", "1"), ("etc/old", "1"), ("opt/d/x", "1")]);
    let second =
        tar_of(&[("bin/tool", "2"), ("etc/.wh.old", ""), ("opt/d/.wh..wh..opq", ""), ("opt/d/y", "2")]);
    let third = tar_of(&[("big", &"3".repeat(3_000_000))]);
    let manifest = registry
        .image(
            "1",
            vec![
                (GZIP_LAYER, base, &base_tar),
                (ZSTD_LAYER, zstd(&second), &second),
                (TAR_LAYER, third.clone(), &third),
            ],
        )
        .await;
    let image = store.resolve(&registry.reference(":1")).await.unwrap();
    assert_eq!(image.digest, manifest["digest"]);
    assert_eq!(image.path.as_deref(), Some("/opt/bin"));
    assert_eq!(fs::read_to_string(image.root.join("bin/tool")).unwrap(), "2");
    assert_eq!(fs::metadata(image.root.join("big")).unwrap().len(), 3_000_000);
    assert!(!image.root.join("etc/old").exists() && !image.root.join("opt/d/x").exists());
    assert!(image.root.join("opt/d/y").exists() && image.root.join("workspace").is_dir());

    // The tag moves on. The stored image remains usable, even without the registry.
    let (moved, moved_tar) = layer(&[("bin/tool", "3")]);
    registry.image("1", vec![(GZIP_LAYER, moved, &moved_tar)]).await;
    let other = store.resolve(&registry.reference(":1")).await.unwrap();
    assert_ne!(other.digest, image.digest);
    let pinned = registry.reference(&format!("@{}", image.digest));
    assert_eq!(image.reference, pinned);
    let tag = registry.reference(":1");
    registry.stop().await;
    assert_eq!(store.resolve(&pinned).await.unwrap().root, image.root);
    assert!(store.resolve(&tag).await.unwrap_err().to_string().contains("cannot be reached"));
}

#[tokio::test]
#[ignore = "needs docker-registry"]
async fn index_pulls_the_image_for_this_machine() {
    let registry = Registry::start().await;
    let state = tempfile::tempdir().unwrap();
    let (ours, ours_tar) = layer(&[("bin/tool", "ours")]);
    let mut ours = registry.image("ours", vec![(GZIP_LAYER, ours, &ours_tar)]).await;
    ours["platform"] = json!({"os": "linux", "architecture": architecture()});
    let (other, other_tar) = layer(&[("bin/tool", "other")]);
    let mut other = registry.image("other", vec![(GZIP_LAYER, other, &other_tar)]).await;
    other["platform"] = json!({"os": "linux", "architecture": "riscv64"});
    let index =
        |manifests: &[&Value]| json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
    registry.document("all", INDEX, &index(&[&other, &ours])).await;
    registry.document("foreign", INDEX, &index(&[&other])).await;
    let error = refused(&state.path().join("state"), &registry.reference(":foreign")).await;
    assert!(
        error.contains("only for linux/riscv64; use an image that is also built for this machine"),
        "{error}"
    );
    let store = ImageStore::new(state.path().join("state"));
    let image = store.resolve(&registry.reference(":all")).await.unwrap();
    assert_eq!(image.digest, ours["digest"]);
    registry.stop().await;
}

#[tokio::test]
#[ignore = "needs docker-registry"]
async fn missing_or_damaged_image_is_an_error_and_leaves_nothing() {
    let registry = Registry::start().await;
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let (bytes, tar) = layer(&[("bin/tool", "1"), ("big", &"x".repeat(500_000))]);
    let layer_digest = digest_of(&bytes);
    registry.image("1", vec![(GZIP_LAYER, bytes, &tar)]).await;
    let missing = refused(&state, &registry.reference(":2")).await;
    let absent = refused(&state, &registry.reference(&format!("@{}", digest_of(b"absent")))).await;
    assert!(absent.contains("has no such image"), "{absent}");

    let stored = registry.stored(&layer_digest);
    let mut damaged = fs::read(&stored).unwrap();
    damaged[100] ^= 1;
    fs::write(&stored, &damaged).unwrap();
    let corrupted = refused(&state, &registry.reference(":1")).await;
    fs::write(&stored, &damaged[..50]).unwrap();
    let shortened = refused(&state, &registry.reference(":1")).await;
    assert!(shortened.contains("a layer has 50 bytes instead of"), "{shortened}");
    let config = json!({"os": "linux", "architecture": architecture()});
    let config =
        registry.blob("application/vnd.cncf.helm.config.v1+json", config.to_string().into_bytes()).await;
    let chart = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": []});
    registry.document("chart", MANIFEST, &chart).await;
    let chart = refused(&state, &registry.reference(":chart")).await;

    let all = [missing, corrupted, chart].join("\n").replace(&registry.address.to_string(), "REGISTRY");
    let all = all.replace(&digest_of(&damaged), "ACTUAL").replace(&layer_digest, "EXPECTED");
    insta::assert_snapshot!(all, @"
    the sandbox cannot be used: the image 'REGISTRY/team/tool:2': REGISTRY has no such image; check the name, the tag and the digest
    the sandbox cannot be used: the image 'REGISTRY/team/tool:1': a layer has the digest ACTUAL instead of EXPECTED; the content is not what was published: do not use it, and push it again from a trusted source
    the sandbox cannot be used: the image 'REGISTRY/team/tool:chart': it is not an image: its configuration is of the media type application/vnd.cncf.helm.config.v1+json; name a container image with gzip, zstd or uncompressed layers
    ");
    registry.stop().await;
}

#[tokio::test]
#[ignore = "needs docker-registry"]
async fn cut_connection_is_retried_and_then_an_error() {
    let registry = Registry::start().await;
    let directory = tempfile::tempdir().unwrap();
    // Noise does not compress to less than the passed part.
    let noise: String =
        (0..20_000_u32).map(|number| format!("{:x}", number.wrapping_mul(2_654_435_761))).collect();
    let (bytes, tar) = layer(&[("noise", &noise)]);
    let digest = digest_of(&bytes);
    registry.image("1", vec![(GZIP_LAYER, bytes, &tar)]).await;
    let (address, cuts) = cutting(registry.address, digest).await;
    let error = refused(&directory.path().join("state"), &format!("{address}/team/tool:1")).await;
    assert!(error.contains(&format!("the connection to {address} was cut")), "{error}");
    assert_eq!(cuts.load(Ordering::Relaxed), 3);
    registry.stop().await;
}

#[tokio::test]
#[ignore = "needs docker-registry"]
async fn anonymous_token_is_requested_but_no_login() {
    let service = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let realm = format!("http://{}/token", service.local_addr().unwrap());
    let request = tokio::spawn(async move {
        let (mut client, _) = service.accept().await.unwrap();
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            head.push(char::from(client.read_u8().await.unwrap()));
        }
        let response =
            "HTTP/1.1 200 OK\r\ncontent-length: 16\r\nconnection: close\r\n\r\n{\"token\":\"open\"}";
        client.write_all(response.as_bytes()).await.unwrap();
        head.lines().next().unwrap().to_owned()
    });
    let registry =
        Registry::start_with(&format!("auth: {{silly: {{realm: '{realm}', service: images}}}}\n")).await;
    let directory = tempfile::tempdir().unwrap();
    let (bytes, tar) = layer(&[("bin/tool", "1")]);
    registry.image("1", vec![(GZIP_LAYER, bytes, &tar)]).await;
    let store = ImageStore::new(directory.path().join("state"));
    let image = store.resolve(&registry.reference(":1")).await.unwrap();
    assert!(image.root.join("bin/tool").exists());
    let request = request.await.unwrap();
    assert_eq!(request, "GET /token?service=images&scope=repository%3Ateam%2Ftool%3Apull HTTP/1.1");
    registry.stop().await;

    let passwords = directory.path().join("htpasswd");
    fs::write(&passwords, "").unwrap();
    let closed = format!("auth: {{htpasswd: {{realm: closed, path: {}}}}}\n", passwords.display());
    let registry = Registry::start_with(&closed).await;
    let error = refused(&directory.path().join("other"), &registry.reference(":1")).await;
    let error = error.replace(&registry.address.to_string(), "REGISTRY");
    insta::assert_snapshot!(error, @"the sandbox cannot be used: the image 'REGISTRY/team/tool:1': REGISTRY requires a login for it; images are pulled without credentials: check the name, use a registry that needs none, or save it to a file and use oci-archive:/FILE.tar");
    registry.stop().await;
}
