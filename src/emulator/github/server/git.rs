//! Git over HTTP: credentials and addresses around the `git` module, and the events of a push.

use std::borrow::Cow;
use std::io::Read;
use std::sync::Arc;

use axum::body::Bytes;
use http::request::Parts;
use jiff::Timestamp;

use super::reply::{HttpReply, header_map};
use super::shared::Shared;
use crate::git::{
    BareRepository, GitError, PackRequest, PushPolicy, Service, advertise, receive_pack, upload_pack,
};
use crate::github::data::{Database, PermissionLevel, Repository};
use crate::github::mutations::Actor;
use crate::github::rest::{basic_token, valid_token};

/// The largest request after decompression.
const DECOMPRESSED_BYTES_MAX: u64 = 512 << 20;

/// A parsed git request.
struct GitRequest {
    repository: String,
    service: Service,
    advertisement: bool,
}

/// The repository and policy of a request that is allowed.
struct AllowedRequest {
    /// The index of the repository.
    repository: usize,
    git: BareRepository,
    policy: PushPolicy,
}

/// Answers a git request; 404 if the address is not one of git's.
pub(super) async fn handle(shared: &Arc<Shared>, parts: &Parts, body: Bytes) -> HttpReply {
    let Some(request) = parse(parts) else { return HttpReply::text(404, "Not Found\n") };
    let headers = header_map(parts);
    let authorization = headers.get("authorization").cloned();
    let is_compressed = headers.get("content-encoding").is_some_and(|encoding| encoding == "gzip");
    let shared = shared.clone();
    let answered = tokio::task::spawn_blocking(move || {
        let now = Timestamp::now();
        let allowed = shared.with_db(|db| {
            if !request.advertisement {
                db.count_call(&format!("git/{}", request.service.name().trim_start_matches("git-")));
            }
            allow(db, &request, authorization.as_deref(), now)
        });
        let allowed = match allowed {
            Ok(allowed) => allowed,
            Err(reply) => return *reply,
        };
        match perform(&shared, &request, &allowed, is_compressed, &body, now) {
            Ok(reply) => reply,
            Err(GitError::Malformed(what)) => HttpReply::text(400, &format!("{what}\n")),
            Err(error @ (GitError::Repository(_) | GitError::File { .. })) => {
                tracing::error!(%error, "git request failed");
                HttpReply::text(500, "the git operation failed\n")
            }
        }
    });
    answered.await.unwrap_or_else(|error| HttpReply::panicked(&error))
}

/// `/{owner}/{name}[.git]/info/refs?service=…`, `/git-upload-pack`, `/git-receive-pack`.
fn parse(parts: &Parts) -> Option<GitRequest> {
    let path = parts.uri.path();
    let (repository, service, advertisement) = match path.strip_suffix("/info/refs") {
        Some(repository) if parts.method == http::Method::GET => {
            let query = parts.uri.query()?;
            (repository, Service::named(query.strip_prefix("service=")?)?, true)
        }
        _ if parts.method == http::Method::POST => {
            let (repository, service) = path.rsplit_once('/')?;
            (repository, Service::named(service)?, false)
        }
        _ => return None,
    };
    let repository = repository.trim_start_matches('/');
    let repository = repository.strip_suffix(".git").unwrap_or(repository).to_owned();
    Some(GitRequest { repository, service, advertisement })
}

/// Checks the token: fetching needs `contents: read`, pushing `contents: write`.
fn allow(
    db: &Database,
    request: &GitRequest,
    authorization: Option<&str>,
    now: Timestamp,
) -> Result<AllowedRequest, Box<HttpReply>> {
    let reject = |status, text: &str| Box::new(HttpReply::text(status, text));
    let challenge = |text: &str| {
        let mut reply = HttpReply::text(401, text);
        reply.headers.push(("www-authenticate".to_owned(), "Basic realm=\"GitHub\"".to_owned()));
        Box::new(reply)
    };
    let Some(token) = basic_token(authorization) else {
        return Err(challenge("Authentication required\n"));
    };
    let token = valid_token(db, &token, now);
    let token = token.map_err(|_| challenge("Invalid username or token.\n"))?;
    let index = db.repository_named(&request.repository);
    let index = index.or_else(|| db.repository_formerly_named(&request.repository));
    // Whoever has a token can fetch a public repository, also with one for another repository.
    let is_readable = |repository: &Repository| {
        let is_fetch = matches!(request.service, Service::UploadPack);
        token.covers(repository) || (is_fetch && !repository.private)
    };
    let Some(index) = index.filter(|index| is_readable(&db.repositories[*index])) else {
        return Err(reject(404, "Repository not found.\n"));
    };
    let repository = &db.repositories[index];
    let level = match request.service {
        Service::UploadPack => PermissionLevel::Read,
        Service::ReceivePack => PermissionLevel::Write,
    };
    if !token.allows("contents", level) {
        let (name, login) = (repository.full_name(), db.app.bot_login());
        let message = match level {
            PermissionLevel::Read => "Repository not found.\n".to_owned(),
            PermissionLevel::Write => format!("Permission to {name}.git denied to {login}.\n"),
        };
        return Err(reject(403, &message));
    }
    if repository.archived && level == PermissionLevel::Write {
        return Err(reject(403, "This repository was archived so it is read-only.\n"));
    }
    let policy = PushPolicy { workflows: token.allows("workflows", PermissionLevel::Write) };
    Ok(AllowedRequest { repository: index, git: repository.git.clone(), policy })
}

fn perform(
    shared: &Shared,
    request: &GitRequest,
    allowed: &AllowedRequest,
    is_compressed: bool,
    body: &[u8],
    now: Timestamp,
) -> Result<HttpReply, GitError> {
    let name = request.service.name();
    if request.advertisement {
        let body = advertise(&allowed.git, request.service)?;
        return Ok(git_reply(&format!("application/x-{name}-advertisement"), body));
    }
    let body = match is_compressed {
        true => Cow::Owned(decompress(body)?),
        false => Cow::Borrowed(body),
    };
    let response = match request.service {
        Service::UploadPack => upload_pack(&allowed.git, &PackRequest::parse(&body)?)?,
        Service::ReceivePack => {
            let received = receive_pack(&allowed.git, &body, allowed.policy)?;
            shared.with_db(|db| {
                let login = db.app.bot_login();
                Actor::new(db, allowed.repository, &login, now).references_moved(&received.updates)
            })?;
            received.response
        }
    };
    Ok(git_reply(&format!("application/x-{name}-result"), response))
}

fn git_reply(media_type: &str, body: Vec<u8>) -> HttpReply {
    let headers = vec![
        ("content-type".to_owned(), media_type.to_owned()),
        ("cache-control".to_owned(), "no-cache, max-age=0, must-revalidate".to_owned()),
    ];
    HttpReply { status: 200, headers, body }
}

fn decompress(body: &[u8]) -> Result<Vec<u8>, GitError> {
    let mut decompressed = Vec::new();
    let mut reader = flate2::read::GzDecoder::new(body).take(DECOMPRESSED_BYTES_MAX + 1);
    reader.read_to_end(&mut decompressed).map_err(|error| GitError::Malformed(error.to_string()))?;
    match decompressed.len() as u64 > DECOMPRESSED_BYTES_MAX {
        true => Err(GitError::Malformed("the decompressed request is too large".to_owned())),
        false => Ok(decompressed),
    }
}
