//! Git over HTTP: credentials and addresses around `git_http`, and what a push sets off.

use std::io::Read;
use std::sync::Arc;

use axum::body::Bytes;
use http::request::Parts;
use jiff::Timestamp;

use super::Shared;
use super::access::{basic_token, live_token};
use super::operations::Level;
use super::pull_deeds::references_moved;
use super::server::{Reply, header_map};
use super::world::World;
use crate::git::{
    BareRepository, GitHttpError, PackRequest, PushPolicy, Service, advertise, receive_pack, upload_pack,
};

/// The most bytes a zipped request may unfold to.
const UNZIPPED_BYTES_MAX: u64 = 512 << 20;

/// What a git request is for.
struct Wanted {
    repository: String,
    service: Service,
    advertisement: bool,
}

/// A request that may be carried out.
struct Admitted {
    index: usize,
    git: BareRepository,
    policy: PushPolicy,
}

/// Answers a git request, or says that there is nothing at this address.
pub(super) async fn handle(shared: &Arc<Shared>, parts: &Parts, body: Bytes) -> Reply {
    let Some(wanted) = wanted(parts) else { return Reply::text(404, "Not Found\n") };
    let headers = header_map(parts);
    let authorization = headers.get("authorization").cloned();
    let zipped = headers.get("content-encoding").is_some_and(|encoding| encoding == "gzip");
    let shared = shared.clone();
    let answered = tokio::task::spawn_blocking(move || {
        let now = Timestamp::now();
        let admitted = shared.with_world(|world| {
            let name = format!("git/{}", wanted.service.name().trim_start_matches("git-"));
            if !wanted.advertisement {
                *world.calls.entry(name).or_default() += 1;
            }
            admit(world, &wanted, authorization.as_deref(), now)
        });
        let admitted = match admitted {
            Ok(admitted) => admitted,
            Err(refusal) => return *refusal,
        };
        match perform(&shared, &wanted, &admitted, zipped, &body, now) {
            Ok(reply) => reply,
            Err(GitHttpError::Malformed(what)) => Reply::text(400, &format!("{what}\n")),
            Err(error @ (GitHttpError::Repository(_) | GitHttpError::File { .. })) => {
                tracing::error!(%error, "a git request failed");
                Reply::text(500, "the emulated repository failed\n")
            }
        }
    });
    answered.await.unwrap_or_else(|error| Reply::text(500, &format!("the emulator failed: {error}\n")))
}

/// `/{owner}/{name}[.git]/info/refs?service=…`, `/git-upload-pack`, `/git-receive-pack`.
fn wanted(parts: &Parts) -> Option<Wanted> {
    let path = parts.uri.path();
    let (place, service, advertisement) = match path.strip_suffix("/info/refs") {
        Some(place) if parts.method == http::Method::GET => {
            let query = parts.uri.query()?;
            (place, Service::named(query.strip_prefix("service=")?)?, true)
        }
        _ if parts.method == http::Method::POST => {
            let (place, service) = path.rsplit_once('/')?;
            (place, Service::named(service)?, false)
        }
        _ => return None,
    };
    let place = place.trim_start_matches('/');
    let repository = place.strip_suffix(".git").unwrap_or(place).to_owned();
    Some(Wanted { repository, service, advertisement })
}

/// The token decides: contents:read to fetch, contents:write to push.
fn admit(
    world: &World,
    wanted: &Wanted,
    authorization: Option<&str>,
    now: Timestamp,
) -> Result<Admitted, Box<Reply>> {
    let refuse = |status, text: &str| Box::new(Reply::text(status, text));
    let challenge = |text: &str| {
        let mut reply = Reply::text(401, text);
        reply.headers.push(("www-authenticate".to_owned(), "Basic realm=\"GitHub\"".to_owned()));
        Box::new(reply)
    };
    let Some(token) = basic_token(authorization) else {
        return Err(challenge("Authentication required\n"));
    };
    let token = live_token(world, &token, now);
    let token = token.map_err(|_| challenge("Invalid username or token.\n"))?;
    let index = world.repository_named(&wanted.repository).or_else(|| {
        let id = world.repository_formerly(&wanted.repository)?.id;
        world.repositories.iter().position(|repository| repository.id == id)
    });
    let found = index.filter(|index| token.reaches(&world.repositories[*index]));
    let Some(index) = found else { return Err(refuse(404, "Repository not found.\n")) };
    let repository = &world.repositories[index];
    let level = match wanted.service {
        Service::UploadPack => Level::Read,
        Service::ReceivePack => Level::Write,
    };
    if !token.allows("contents", level) {
        let (place, who) = (repository.full_name(), world.app.bot_login());
        let message = match level {
            Level::Read => "Repository not found.\n".to_owned(),
            Level::Write => format!("Permission to {place}.git denied to {who}.\n"),
        };
        return Err(refuse(403, &message));
    }
    if repository.archived && level == Level::Write {
        return Err(refuse(403, "This repository was archived so it is read-only.\n"));
    }
    let policy = PushPolicy { workflows: token.allows("workflows", Level::Write) };
    Ok(Admitted { index, git: repository.git.clone(), policy })
}

fn perform(
    shared: &Shared,
    wanted: &Wanted,
    admitted: &Admitted,
    zipped: bool,
    body: &[u8],
    now: Timestamp,
) -> Result<Reply, GitHttpError> {
    let name = wanted.service.name();
    if wanted.advertisement {
        let body = advertise(&admitted.git, wanted.service)?;
        return Ok(git_reply(&format!("application/x-{name}-advertisement"), body));
    }
    let unzipped;
    let body = match zipped {
        true => {
            unzipped = unzip(body)?;
            &unzipped[..]
        }
        false => body,
    };
    let answer = match wanted.service {
        Service::UploadPack => upload_pack(&admitted.git, &PackRequest::parse(body)?)?,
        Service::ReceivePack => {
            let received = receive_pack(&admitted.git, body, admitted.policy)?;
            shared.with_world(|world| {
                let by = world.app.bot_login();
                references_moved(world, admitted.index, &received.updates, &by, now)
            })?;
            received.response
        }
    };
    Ok(git_reply(&format!("application/x-{name}-result"), answer))
}

fn git_reply(media_type: &str, body: Vec<u8>) -> Reply {
    let headers = vec![
        ("content-type".to_owned(), media_type.to_owned()),
        ("cache-control".to_owned(), "no-cache, max-age=0, must-revalidate".to_owned()),
    ];
    Reply { status: 200, headers, body }
}

fn unzip(body: &[u8]) -> Result<Vec<u8>, GitHttpError> {
    let mut unzipped = Vec::new();
    let mut reader = flate2::read::GzDecoder::new(body).take(UNZIPPED_BYTES_MAX + 1);
    reader.read_to_end(&mut unzipped).map_err(|error| GitHttpError::Malformed(error.to_string()))?;
    match unzipped.len() as u64 > UNZIPPED_BYTES_MAX {
        true => Err(GitHttpError::Malformed("the unzipped request is too large".to_owned())),
        false => Ok(unzipped),
    }
}
