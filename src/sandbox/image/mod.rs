//! OCI images without a daemon: an image that an operator or a repository names is unpacked into a directory
//! with its root file system, after its digests were verified.
//!
//! Nothing in an image, and nothing that a registry sends, is trusted: it is limited, verified, never run,
//! and cannot leave the directory that it is unpacked into. Starts no process.

pub use self::store::{ImageStore, UnpackedImage};

mod digest;
mod error;
mod layer;
mod limits;
mod local;
mod lock;
mod manifest;
mod pull;
mod reference;
mod rootfs;
mod source;
mod store;
mod tarball;
mod unpack;

#[cfg(test)]
mod tests;
