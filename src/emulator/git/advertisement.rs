//! `info/refs`: the references and capabilities that a client receives before its request.

use super::error::GitError;
use super::packet::{push_flush, push_line};
use super::repository::BareRepository;

/// A service that a client may request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Clone and fetch.
    UploadPack,
    /// Push.
    ReceivePack,
}

impl Service {
    /// The service by its name in addresses.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "git-upload-pack" => Some(Self::UploadPack),
            "git-receive-pack" => Some(Self::ReceivePack),
            _ => None,
        }
    }

    /// Its name in addresses and media types.
    pub fn name(self) -> &'static str {
        match self {
            Self::UploadPack => "git-upload-pack",
            Self::ReceivePack => "git-receive-pack",
        }
    }

    fn capabilities(self) -> &'static str {
        match self {
            Self::UploadPack => {
                "multi_ack multi_ack_detailed side-band side-band-64k ofs-delta shallow no-progress \
                 include-tag allow-tip-sha1-in-want allow-reachable-sha1-in-want"
            }
            Self::ReceivePack => "report-status delete-refs side-band-64k ofs-delta quiet",
        }
    }
}

/// The body of the response to `info/refs?service=…`.
pub fn advertise(repository: &BareRepository, service: Service) -> Result<Vec<u8>, GitError> {
    let git = repository.open()?;
    let mut lines: Vec<(git2::Oid, String)> = Vec::new();
    let mut symbolic_head = String::new();
    if service == Service::UploadPack
        && let Ok(head) = git.head()
        && let Some(target) = head.target()
    {
        lines.push((target, "HEAD".to_owned()));
        symbolic_head = format!(" symref=HEAD:{}", head.name()?);
    }
    for facts in repository.references("refs/")? {
        let oid = git2::Oid::from_str(&facts.sha)?;
        if service == Service::ReceivePack && facts.name.starts_with("refs/pull/") {
            continue;
        }
        lines.push((oid, facts.name.clone()));
        if service == Service::UploadPack
            && let Some(peeled) = facts.peeled
        {
            lines.push((git2::Oid::from_str(&peeled)?, format!("{}^{{}}", facts.name)));
        }
    }
    if lines.is_empty() {
        lines.push((git2::Oid::from_str(&"0".repeat(40))?, "capabilities^{}".to_owned()));
    }
    let mut out = Vec::new();
    push_line(&mut out, format!("# service={}\n", service.name()).as_bytes());
    push_flush(&mut out);
    for (index, (oid, name)) in lines.iter().enumerate() {
        let line = match index {
            0 => format!(
                "{oid} {name}\0{}{symbolic_head} object-format=sha1 agent=git/emulated\n",
                service.capabilities()
            ),
            _ => format!("{oid} {name}\n"),
        };
        push_line(&mut out, line.as_bytes());
    }
    push_flush(&mut out);
    Ok(out)
}
