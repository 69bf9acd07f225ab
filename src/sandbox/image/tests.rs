//! Builders for the images of this module's tests: tars written byte by byte, and image layouts.

use std::fs;
use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};

use super::digest::digest_of;
use super::manifest::architecture;

pub(super) const FILE: u8 = b'0';
pub(super) const HARD_LINK: u8 = b'1';
pub(super) const SYMLINK: u8 = b'2';
pub(super) const DEVICE: u8 = b'3';
pub(super) const DIRECTORY: u8 = b'5';
pub(super) const FIFO: u8 = b'6';

/// One entry of a tar, with any name and size.
pub(super) fn raw(kind: u8, path: &[u8], mode: u32, size: u64, target: &[u8], content: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..path.len()].copy_from_slice(path);
    header.as_old_mut().linkname[..target.len()].copy_from_slice(target);
    header.set_entry_type(tar::EntryType::new(kind));
    header.set_mode(mode);
    header.set_mtime(1_600_000_000);
    header.set_size(size);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

pub(super) fn file(path: &str, content: &str) -> Vec<u8> {
    file_with_mode(path, 0o644, content)
}

pub(super) fn file_with_mode(path: &str, mode: u32, content: &str) -> Vec<u8> {
    raw(FILE, path.as_bytes(), mode, content.len() as u64, b"", content.as_bytes())
}

pub(super) fn directory(path: &str, mode: u32) -> Vec<u8> {
    raw(DIRECTORY, path.as_bytes(), mode, 0, b"", b"")
}

pub(super) fn symlink(path: &str, target: &str) -> Vec<u8> {
    raw(SYMLINK, path.as_bytes(), 0o777, 0, target.as_bytes(), b"")
}

pub(super) fn hard_link(path: &str, target: &str) -> Vec<u8> {
    raw(HARD_LINK, path.as_bytes(), 0o644, 0, target.as_bytes(), b"")
}

/// Pax records before the next entry.
pub(super) fn pax(records: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut content = Vec::new();
    for (key, value) in records {
        let rest = 3 + key.len() + value.len();
        let length =
            (1..7).map(|digits| rest + digits).find(|length| length.to_string().len() + rest == *length);
        content.extend(length.unwrap().to_string().bytes());
        content.push(b' ');
        content.extend(*key);
        content.push(b'=');
        content.extend(*value);
        content.push(b'\n');
    }
    raw(b'x', b"pax", 0o644, content.len() as u64, b"", &content)
}

/// A complete tar.
pub(super) fn tar_of(entries: &[Vec<u8>]) -> Vec<u8> {
    [entries.concat(), vec![0; 1024]].concat()
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

/// An image layout in a directory.
pub(super) struct Layout<'a> {
    pub directory: &'a Path,
    manifests: Vec<Value>,
}

impl<'a> Layout<'a> {
    pub(super) fn new(directory: &'a Path) -> Self {
        fs::create_dir_all(directory.join("blobs/sha256")).unwrap();
        let layout = Self { directory, manifests: Vec::new() };
        fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        layout.write_index();
        layout
    }

    pub(super) fn blob(&self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = digest_of(bytes);
        fs::write(self.directory.join("blobs/sha256").join(&digest[7..]), bytes).unwrap();
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    }

    /// A manifest of layers that are given as media type, blob and digest of the uncompressed tar.
    pub(super) fn manifest(&self, layers: &[(&str, Vec<u8>, String)], platform: (&str, &str)) -> Value {
        let config = json!({
            "os": platform.0, "architecture": platform.1,
            "config": {"Env": ["PATH=/opt/bin:/usr/bin", "LANG=C.UTF-8"]},
            "rootfs": {"type": "layers", "diff_ids": layers.iter().map(|layer| &layer.2).collect::<Vec<_>>()},
        });
        let config = self.blob("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
        let layers: Vec<_> = layers.iter().map(|(kind, bytes, _)| self.blob(kind, bytes)).collect();
        self.manifest_of(&config, &layers)
    }

    pub(super) fn manifest_of(&self, config: &Value, layers: &[Value]) -> Value {
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers});
        self.blob(kind, manifest.to_string().as_bytes())
    }

    /// An image of uncompressed tars for this machine.
    pub(super) fn image(&self, tars: &[Vec<u8>]) -> Value {
        let kind = "application/vnd.oci.image.layer.v1.tar";
        let layers: Vec<_> = tars.iter().map(|tar| (kind, tar.clone(), digest_of(tar))).collect();
        self.manifest(&layers, ("linux", architecture()))
    }

    pub(super) fn name(&mut self, mut descriptor: Value, tag: &str) {
        descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
        self.manifests.retain(|known| known["annotations"] != descriptor["annotations"]);
        self.manifests.push(descriptor);
        self.write_index();
    }

    fn write_index(&self) {
        let index = json!({"schemaVersion": 2, "manifests": self.manifests});
        fs::write(self.directory.join("index.json"), index.to_string()).unwrap();
    }
}
