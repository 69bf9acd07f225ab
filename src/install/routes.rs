//! The set-up pages over HTTP: the page with the button, where GitHub sends the browser back to,
//! and the page after it.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use url::Url;

use super::flow::{Done, Waiting};
use super::gate::{Admission, set_cookie};
use super::manifest::manifest_for;
use super::page::{self, Page, Registered, STYLE, Start, Trouble, apps_page};
use super::{CredentialSink, SETUP_PATH, SetUp, below};
use crate::config::{StoredApp, is_loopback};
use crate::domain::Login;
use crate::github::{GitHubError, RegisteredApp, convert_manifest_code};
use crate::secrets::register;

/// GitHub's codes have 40 characters.
const CODE_BYTES_MAX: usize = 200;

#[derive(Deserialize)]
struct Asked {
    token: Option<String>,
    organisation: Option<String>,
}

#[derive(Deserialize)]
struct SentBack {
    code: Option<String>,
    state: Option<String>,
}

pub(super) fn router(set_up: Arc<SetUp>) -> Router {
    Router::new()
        .route(SETUP_PATH, get(show))
        .route(&format!("{SETUP_PATH}/callback"), get(callback))
        .route(&format!("{SETUP_PATH}/done"), get(done))
        .route(&format!("{SETUP_PATH}/style.css"), get(style))
        .with_state(set_up)
}

async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], STYLE).into_response()
}

async fn show(
    State(set_up): State<Arc<SetUp>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Query(asked): Query<Asked>,
) -> Response {
    let (session, is_new) = match set_up.gate.admit(peer, &headers, asked.token.as_deref()) {
        Admission::Known(session) => (session, false),
        Admission::New(session) => (session, true),
        Admission::Refused(why) => return set_up.barred(why),
    };
    // The token must not stay in the address bar, nor in the history.
    let response = if asked.token.is_some() {
        set_up.to(SETUP_PATH)
    } else if set_up.flow.lock().await.done.is_some() {
        set_up.to("/setup/done")
    } else {
        set_up.first_page(&session, asked.organisation.as_deref()).await
    };
    if is_new { set_up.with_cookie(response, &session) } else { response }
}

async fn done(
    State(set_up): State<Arc<SetUp>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    match set_up.gate.admit(peer, &headers, None) {
        Admission::Refused(why) => return set_up.barred(why),
        Admission::Known(_) | Admission::New(_) => {}
    }
    let flow = set_up.flow.lock().await;
    let Some(done) = &flow.done else { return set_up.to(SETUP_PATH) };
    let kept = set_up.keep.described(&set_up.place.data_dir);
    let page = page::done(&Registered {
        name: &done.name,
        owner: &done.owner,
        html_url: &done.html_url,
        kept: &kept,
        on_disk: set_up.keep == CredentialSink::InDataDir,
        label: &set_up.place.label,
    });
    set_up.respond(StatusCode::OK, &page)
}

/// GitHub sent the browser back. The flow's lock is held to the end: one registration at a time.
async fn callback(
    State(set_up): State<Arc<SetUp>>,
    headers: HeaderMap,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Query(sent): Query<SentBack>,
) -> Response {
    // A browser that comes back without its session is not the one that was sent.
    let Admission::Known(session) = set_up.gate.admit(peer, &headers, None) else {
        return set_up.refuse(set_up.strange_state());
    };
    let mut flow = set_up.flow.lock().await;
    if flow.done.is_some() {
        return set_up.to("/setup/done");
    }
    let state = sent.state.unwrap_or_default();
    let (waiting, app) = match flow.take_unkept(&state, &session) {
        Some((waiting, app)) => (waiting, app),
        None => {
            let Some(waiting) = flow.take(&state, &session, (set_up.clock)()) else {
                return set_up.refuse(set_up.strange_state());
            };
            let code = sent.code.filter(|code| !code.is_empty() && code.len() <= CODE_BYTES_MAX);
            let Some(code) = code else { return set_up.refuse(set_up.no_code()) };
            if let Err(error) = set_up.keep.prepare(&set_up.place.data_dir) {
                flow.put_back(waiting);
                return set_up.refuse(set_up.no_room(&error, "could not be written"));
            }
            match convert_manifest_code(&set_up.place.api_url, &code).await {
                Ok(app) => (waiting, set_up.stored(app)),
                Err(error) => return set_up.not_converted(&mut flow, waiting, error),
            }
        }
    };
    app.secrets().into_iter().for_each(|(kind, secret)| register(kind, secret));
    if let Err(error) = set_up.keep.keep(&app, &set_up.place.data_dir) {
        tracing::error!(%error, "the App's credentials could not be kept; they are held in memory");
        flow.unkept = Some((waiting, app));
        let what =
            "could not be written, after GitHub had handed the credentials out; they are held in memory";
        return set_up.refuse(set_up.no_room(&error, what));
    }
    if let Err(why) = (set_up.go_live)(&app) {
        tracing::error!(why, "the service cannot work with the App that was just registered");
        return set_up.refuse(Trouble {
            title: "The App is registered, and the service cannot use it",
            what: why,
            remedy: "The credentials are kept. Restart the service, and see its log.".to_owned(),
            again: false,
            setup: None,
        });
    }
    tracing::info!(app = app.slug, id = app.app_id, "the App is registered; the service works with it");
    flow.done = Some(Done { name: app.name, html_url: app.html_url, owner: app.owner });
    set_up.to("/setup/done")
}

impl SetUp {
    async fn first_page(&self, session: &str, organisation: Option<&str>) -> Response {
        let Some(base) = self.place.base() else { return self.refuse(self.no_public_url()) };
        let organisation = organisation.map(str::trim).filter(|name| !name.is_empty());
        let Ok(organisation) = organisation.map(str::parse::<Login>).transpose() else {
            return self.refuse(Trouble {
                title: "That is no organisation's name",
                what: "A name on GitHub has letters, digits and single hyphens only.".to_owned(),
                remedy: "It is what follows github.com/ in the organisation's address.".to_owned(),
                again: false,
                setup: Some(self.link(SETUP_PATH)),
            });
        };
        let organisation = organisation.as_ref().map(Login::as_str);
        let mut flow = self.flow.lock().await;
        let state = flow.begin(session, (self.clock)());
        let mut action: Url = format!("{}/new", apps_page(&self.place.web_url, organisation))
            .parse()
            .expect("a checked name below an address is an address");
        action.query_pairs_mut().append_pair("state", &state);
        let page = page::start(&Start {
            manifest: &manifest_for(&base, organisation),
            action: &action,
            web_url: &self.place.web_url,
            organisation,
            setup: &self.link(SETUP_PATH),
            kept: &self.keep.described(&self.place.data_dir),
            on_disk: self.keep == CredentialSink::InDataDir,
            interrupted: flow.interrupted,
        });
        self.respond(StatusCode::OK, &page)
    }

    fn stored(&self, app: RegisteredApp) -> StoredApp {
        StoredApp {
            app_id: app.id,
            slug: app.slug,
            name: app.name,
            html_url: app.html_url,
            owner: app.owner,
            client_id: app.client_id,
            client_secret: app.client_secret,
            webhook_secret: app.webhook_secret,
            private_key: app.private_key,
            api_url: self.place.api_url.clone(),
            web_url: self.place.web_url.clone(),
            registered_at: (self.clock)(),
        }
    }

    fn not_converted(&self, flow: &mut super::Flow, waiting: Waiting, error: GitHubError) -> Response {
        tracing::warn!(%error, "the App's credentials could not be fetched");
        let apps = apps_page(&self.place.web_url, None);
        let trouble = match &error {
            GitHubError::Unavailable { detail, .. } => {
                // The answer may be lost and the code used up: asking again tells.
                flow.put_back(waiting);
                Trouble {
                    title: "GitHub does not answer",
                    what: format!("The App's credentials could not be fetched: {detail}."),
                    remedy: "Wait a moment, and see that this machine can reach GitHub.".to_owned(),
                    again: true,
                    setup: None,
                }
            }
            GitHubError::NotFound { .. } => {
                self.keep.give_up(&self.place.data_dir);
                Trouble {
                    title: "GitHub's code is no longer valid",
                    what:
                        "GitHub does not know the code that it sent you back with. It works once, and for an \
                           hour. The App was registered, and nobody has its key."
                            .to_owned(),
                    remedy: format!("Delete the App at {apps} (an organisation's: in its own settings)."),
                    again: false,
                    setup: Some(self.link(SETUP_PATH)),
                }
            }
            GitHubError::Forbidden { .. }
            | GitHubError::Rejected { .. }
            | GitHubError::ContainsSecret { .. } => {
                self.keep.give_up(&self.place.data_dir);
                Trouble {
                    title: "GitHub did not hand out the credentials",
                    what: format!("{error}."),
                    remedy: format!("Delete the App at {apps} (an organisation's: in its own settings)."),
                    again: false,
                    setup: Some(self.link(SETUP_PATH)),
                }
            }
        };
        self.refuse(trouble)
    }

    fn strange_state(&self) -> Trouble {
        let apps = apps_page(&self.place.web_url, None);
        Trouble {
            title: "This is not the answer that was waited for",
            what: "The one-time state that GitHub was given did not come back from the browser that it was given to: it \
                   was used already, is older than an hour, or the service was restarted meanwhile. Nothing was \
                   fetched and nothing was changed here."
                .to_owned(),
            remedy: format!(
                "If you did register an App just now, delete it at {apps} (an organisation's: in its own settings)."
            ),
            again: false,
            setup: Some(self.link(SETUP_PATH)),
        }
    }

    fn no_code(&self) -> Trouble {
        Trouble {
            title: "GitHub sent no code",
            what: "GitHub sent you back without a code: the registration was not confirmed there.".to_owned(),
            remedy: "Nothing was registered.".to_owned(),
            again: false,
            setup: Some(self.link(SETUP_PATH)),
        }
    }

    fn no_room(&self, error: &std::io::Error, what: &str) -> Trouble {
        let directory = self.place.data_dir.display();
        let remedy = match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                format!("Free some space on the disk that {directory} is on.")
            }
            std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
                format!("Let the service's account write to {directory}.")
            }
            _ => format!("See that the service's account can write to {directory}."),
        };
        let kept = self.keep.described(&self.place.data_dir);
        Trouble {
            title: "The credentials cannot be stored",
            what: format!("{kept} {what}: {error}."),
            remedy,
            again: true,
            setup: None,
        }
    }

    fn no_public_url(&self) -> Trouble {
        Trouble {
            title: "One setting is missing",
            what: format!(
                "The service does not know the address at which {} can reach it, to tell it of labelled issues.",
                self.place.web_url.host_str().unwrap_or("GitHub")
            ),
            remedy: "Set server.public_url (or MENDWRIGHT_SERVER_PUBLIC_URL) to it, as \
                     \"https://mendwright.example.com\", and restart the service."
                .to_owned(),
            again: false,
            setup: None,
        }
    }

    fn barred(&self, why: &'static str) -> Response {
        let trouble = Trouble {
            title: "This page is for the operator",
            what: "Whoever registers the App rules this service.".to_owned(),
            remedy: why.to_owned(),
            again: false,
            setup: None,
        };
        self.respond(StatusCode::FORBIDDEN, &page::trouble(&trouble))
    }

    fn refuse(&self, trouble: Trouble) -> Response {
        self.respond(StatusCode::BAD_REQUEST, &page::trouble(&trouble))
    }

    /// A path as the browser sees it: a proxy may serve us below a path of its own.
    fn link(&self, path: &str) -> String {
        match &self.place.public_url {
            Some(url) => below(url, path).path().to_owned(),
            None => path.to_owned(),
        }
    }

    fn to(&self, path: &str) -> Response {
        let location = self.link(path);
        self.guarded((StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response())
    }

    fn respond(&self, status: StatusCode, page: &Page) -> Response {
        let html = page.html(&self.link(&format!("{SETUP_PATH}/style.css")));
        let kind = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
        self.guarded((status, kind, html).into_response())
    }

    /// Nothing runs in the page, nobody frames it, it is not kept, and its form goes to GitHub only.
    fn guarded(&self, mut response: Response) -> Response {
        let policy = format!(
            "default-src 'none'; style-src 'self'; form-action 'self' {}; base-uri 'none'; frame-ancestors 'none'",
            self.place.web_url.origin().ascii_serialization()
        );
        let fixed = [
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "strict-origin"),
            (header::CACHE_CONTROL, "no-store"),
        ];
        let headers = response.headers_mut();
        for (name, value) in fixed {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if let Ok(policy) = HeaderValue::try_from(policy) {
            headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        response
    }

    fn with_cookie(&self, mut response: Response, session: &str) -> Response {
        let base = self.place.public_url.as_ref().filter(|url| !is_loopback(url));
        if let Ok(value) = HeaderValue::try_from(set_cookie(session, base)) {
            response.headers_mut().insert(header::SET_COOKIE, value);
        }
        response
    }
}
