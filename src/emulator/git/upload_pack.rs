//! Clone and fetch: negotiation, then a pack with the objects that the client lacks.

use std::collections::HashSet;

use git2::{Oid, Repository};

use super::error::GitError;
use super::packet::{Band, Packet, PacketReader, line, push_band, push_flush, push_line};
use super::reachable::{ObjectWalk, depth_boundary, missing_objects};
use super::repository::BareRepository;

/// How many commits one request may name.
const COMMITS_NAMED_MAX: usize = 100_000;

/// A parsed request to `git-upload-pack`.
#[derive(Debug, Default)]
pub struct PackRequest {
    wants: Vec<Oid>,
    shallow: HashSet<Oid>,
    depth: Option<u32>,
    steps: Vec<NegotiationStep>,
    side_band: bool,
    multi_ack_detailed: bool,
    multi_ack: bool,
    include_tag: bool,
}

#[derive(Debug)]
enum NegotiationStep {
    Have(Oid),
    Flush,
    Done,
}

impl PackRequest {
    /// Parses a request's decompressed body.
    pub fn parse(body: &[u8]) -> Result<Self, GitError> {
        let mut request = Self::default();
        let mut reader = PacketReader::new(body);
        let mut negotiating = false;
        while let Some(packet) = reader.next()? {
            if request.wants.len() + request.steps.len() + request.shallow.len() > COMMITS_NAMED_MAX {
                return Err(GitError::Malformed("too many commits in one request".to_owned()));
            }
            let data = match packet {
                Packet::Flush if negotiating => {
                    request.steps.push(NegotiationStep::Flush);
                    continue;
                }
                Packet::Flush => {
                    negotiating = true;
                    continue;
                }
                Packet::Data(data) => line(data)?,
            };
            match data.split_once(' ').unwrap_or((data, "")) {
                ("want", rest) => request.read_want(rest)?,
                ("shallow", sha) => {
                    request.shallow.insert(oid(sha)?);
                }
                ("deepen", depth) => {
                    let depth = depth.parse().ok().filter(|depth| *depth > 0);
                    request.depth = Some(depth.ok_or_else(|| unknown_line(data))?);
                }
                ("have", sha) => request.steps.push(NegotiationStep::Have(oid(sha)?)),
                ("done", "") => request.steps.push(NegotiationStep::Done),
                _ => return Err(unknown_line(data)),
            }
        }
        Ok(request)
    }

    fn read_want(&mut self, rest: &str) -> Result<(), GitError> {
        let (sha, capabilities) = rest.split_once(' ').unwrap_or((rest, ""));
        for capability in capabilities.split(' ') {
            match capability {
                "side-band-64k" => self.side_band = true,
                "multi_ack_detailed" => self.multi_ack_detailed = true,
                "multi_ack" => self.multi_ack = true,
                "include-tag" => self.include_tag = true,
                _ => {}
            }
        }
        self.wants.push(oid(sha)?);
        Ok(())
    }
}

fn oid(sha: &str) -> Result<Oid, GitError> {
    if sha.len() != 40 {
        return Err(GitError::Malformed(format!("{sha:?} is not an object id")));
    }
    Oid::from_str(sha).map_err(|_| GitError::Malformed(format!("{sha:?} is not an object id")))
}

fn unknown_line(data: &str) -> GitError {
    GitError::Malformed(format!("unknown line {:?}", data.chars().take(80).collect::<String>()))
}

/// The body of the response.
pub fn upload_pack(repository: &BareRepository, request: &PackRequest) -> Result<Vec<u8>, GitError> {
    let git = repository.open()?;
    let mut out = Vec::new();
    if request.wants.is_empty() {
        return Ok(out);
    }
    for want in &request.wants {
        if !git.odb()?.exists(*want) {
            push_line(&mut out, format!("ERR upload-pack: not our ref {want}").as_bytes());
            return Ok(out);
        }
    }
    let mut shallow_sent = HashSet::new();
    let mut roots = request.wants.clone();
    if let Some(depth) = request.depth {
        let (boundary, inside) = depth_boundary(&git, &request.wants, depth)?;
        for sha in boundary.difference(&request.shallow) {
            push_line(&mut out, format!("shallow {sha}").as_bytes());
        }
        for sha in request.shallow.intersection(&inside) {
            push_line(&mut out, format!("unshallow {sha}").as_bytes());
            // Its ancestors are wanted now, even if the commit itself is known.
            roots.push(*sha);
        }
        push_flush(&mut out);
        shallow_sent = boundary;
    } else {
        // A shallow client that does not deepen keeps its boundary.
        shallow_sent.extend(&request.shallow);
    }
    let Some(common) = negotiate(&git, request, &mut out)? else {
        return Ok(out);
    };
    let walk = ObjectWalk {
        wants: &roots,
        haves: &common,
        shallow_at_client: &request.shallow,
        shallow_sent: &shallow_sent,
    };
    let mut objects = missing_objects(&git, &walk)?;
    if request.include_tag {
        add_tags(repository, &mut objects)?;
    }
    let pack = build_pack(&git, &objects)?;
    if request.side_band {
        push_band(&mut out, Band::Progress, format!("Sending {} objects.\n", objects.len()).as_bytes());
        push_band(&mut out, Band::Data, &pack);
        push_flush(&mut out);
    } else {
        out.extend_from_slice(&pack);
    }
    Ok(out)
}

/// Acknowledges common commits. `None` means that the client continues before it wants the pack.
fn negotiate(
    git: &Repository,
    request: &PackRequest,
    out: &mut Vec<u8>,
) -> Result<Option<Vec<Oid>>, GitError> {
    let odb = git.odb()?;
    let mut common: Vec<Oid> = Vec::new();
    let acknowledges_each = request.multi_ack_detailed || request.multi_ack;
    for step in &request.steps {
        match step {
            NegotiationStep::Have(oid) if odb.exists(*oid) => {
                common.push(*oid);
                if request.multi_ack_detailed {
                    push_line(out, format!("ACK {oid} common\n").as_bytes());
                } else if request.multi_ack {
                    push_line(out, format!("ACK {oid} continue\n").as_bytes());
                } else if common.len() == 1 {
                    push_line(out, format!("ACK {oid}\n").as_bytes());
                }
            }
            NegotiationStep::Have(_) => {}
            NegotiationStep::Flush => {
                // One common commit is enough: unknown ones only make the pack larger, never wrong.
                if request.multi_ack_detailed
                    && let Some(last) = common.last()
                {
                    push_line(out, format!("ACK {last} ready\n").as_bytes());
                }
                if common.is_empty() || acknowledges_each {
                    push_line(out, b"NAK\n");
                }
                // Stateless: the client repeats the common commits in its next request.
            }
            NegotiationStep::Done => {
                match common.last() {
                    Some(last) if acknowledges_each => {
                        push_line(out, format!("ACK {last}\n").as_bytes());
                    }
                    Some(_) => {}
                    None => push_line(out, b"NAK\n"),
                }
                return Ok(Some(common));
            }
        }
    }
    Ok(None)
}

/// Adds annotated tags whose commit is in the pack.
fn add_tags(repository: &BareRepository, objects: &mut Vec<(Oid, Option<String>)>) -> Result<(), GitError> {
    let sent: HashSet<Oid> = objects.iter().map(|(oid, _)| *oid).collect();
    for tag in repository.references("refs/tags/")? {
        let Some(peeled) = &tag.peeled else { continue };
        let tag_id = Oid::from_str(&tag.sha)?;
        if sent.contains(&Oid::from_str(peeled)?) && !sent.contains(&tag_id) {
            objects.push((tag_id, None));
        }
    }
    Ok(())
}

fn build_pack(git: &Repository, objects: &[(Oid, Option<String>)]) -> Result<Vec<u8>, GitError> {
    let mut builder = git.packbuilder()?;
    builder.set_threads(1);
    for (oid, name) in objects {
        builder.insert_object(*oid, name.as_deref())?;
    }
    let mut pack = Vec::new();
    builder.foreach(|chunk| {
        pack.extend_from_slice(chunk);
        true
    })?;
    Ok(pack)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_with_unknown_lines_is_rejected() {
        let mut body = Vec::new();
        push_line(&mut body, b"want 0123\n");
        assert!(PackRequest::parse(&body).is_err());
        let mut body = Vec::new();
        push_line(&mut body, b"deepen 0\n");
        assert!(PackRequest::parse(&body).is_err());
        let mut body = Vec::new();
        push_line(&mut body, b"filter blob:none\n");
        assert!(PackRequest::parse(&body).is_err());
    }

    #[test]
    fn capabilities_are_read_from_the_first_want() {
        let mut body = Vec::new();
        let want = format!("want {} multi_ack_detailed side-band-64k ofs-delta\n", "a".repeat(40));
        push_line(&mut body, want.as_bytes());
        push_flush(&mut body);
        push_line(&mut body, b"done\n");
        let request = PackRequest::parse(&body).unwrap();
        assert!(request.multi_ack_detailed && request.side_band && !request.include_tag);
        assert!(matches!(request.steps[..], [NegotiationStep::Done]));
    }
}
