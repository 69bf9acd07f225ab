//! The setup pages over HTTP: the page with the button, the address that GitHub sends the browser back
//! to, and the page after it.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use tracing::{error, info, warn};
use url::Url;

use super::access_gate::{PageAccess, set_cookie};
use super::manifest::manifest_for;
use super::page::{self, Page, Problem, Registered, STYLE, Start, apps_page};
use super::registration::{PendingRegistration, RegisteredAppSummary, RegistrationFlow};
use super::{AppRegistration, CredentialSink, SETUP_PATH, below};
use crate::config::StoredApp;
use crate::domain::{Login, is_loopback};
use crate::github::{GitHubError, RegisteredApp, convert_manifest_code};
use crate::secrets::register;

/// GitHub's codes have 40 characters.
const CODE_BYTES_MAX: usize = 200;

#[derive(Deserialize)]
struct StartQuery {
    token: Option<String>,
    organisation: Option<String>,
}

#[derive(Deserialize)]
struct CallbackQuery {
    code: Option<String>,
    state: Option<String>,
}

pub(super) fn router(registration: Arc<AppRegistration>) -> Router {
    Router::new()
        .route(SETUP_PATH, get(show))
        .route(&format!("{SETUP_PATH}/callback"), get(callback))
        .route(&format!("{SETUP_PATH}/done"), get(done))
        .route(&format!("{SETUP_PATH}/style.css"), get(style))
        .with_state(registration)
}

async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], STYLE).into_response()
}

async fn show(
    State(registration): State<Arc<AppRegistration>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Query(query): Query<StartQuery>,
) -> Response {
    let (session, is_new) = match registration.gate.admit(peer, &headers, query.token.as_deref()) {
        PageAccess::Known(session) => (session, false),
        PageAccess::New(session) => (session, true),
        PageAccess::Refused(remedy) => return registration.forbidden(remedy),
    };
    // The token must not stay in the address bar or in the history.
    let response = if query.token.is_some() {
        registration.redirect(SETUP_PATH)
    } else if registration.flow.lock().await.registered.is_some() {
        registration.redirect("/setup/done")
    } else {
        registration.first_page(&session, query.organisation.as_deref()).await
    };
    if is_new { registration.with_cookie(response, &session) } else { response }
}

async fn done(
    State(registration): State<Arc<AppRegistration>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    match registration.gate.admit(peer, &headers, None) {
        PageAccess::Refused(remedy) => return registration.forbidden(remedy),
        PageAccess::Known(_) | PageAccess::New(_) => {}
    }
    let flow = registration.flow.lock().await;
    let Some(app) = &flow.registered else { return registration.redirect(SETUP_PATH) };
    let page = page::done(&Registered {
        name: &app.name,
        owner: &app.owner,
        html_url: &app.html_url,
        credentials: &registration.sink.location(&registration.config.data_dir),
        on_disk: registration.sink == CredentialSink::InDataDir,
        label: &registration.config.label,
    });
    registration.respond(StatusCode::OK, &page)
}

/// GitHub sent the browser back. The lock of the flow is held until the end, so that one registration at a
/// time is converted.
async fn callback(
    State(registration): State<Arc<AppRegistration>>,
    headers: HeaderMap,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Query(query): Query<CallbackQuery>,
) -> Response {
    // A browser without a session is not the one that was sent to GitHub.
    let PageAccess::Known(session) = registration.gate.admit(peer, &headers, None) else {
        return registration.problem(&registration.unexpected_state());
    };
    let mut flow = registration.flow.lock().await;
    if flow.registered.is_some() {
        return registration.redirect("/setup/done");
    }
    match registration.finish(&mut flow, &session, query).await {
        Ok(()) => registration.redirect("/setup/done"),
        Err(problem) => registration.problem(&problem),
    }
}

impl AppRegistration {
    /// Fetches and stores the credentials, and starts the service's work.
    async fn finish(
        &self,
        flow: &mut RegistrationFlow,
        session: &str,
        query: CallbackQuery,
    ) -> Result<(), Problem> {
        let state = query.state.unwrap_or_default();
        let (pending, app) = match flow.take_unstored(&state, session) {
            Some(unstored) => unstored,
            None => {
                let pending =
                    flow.take(&state, session, (self.clock)()).ok_or_else(|| self.unexpected_state())?;
                let code = query.code.filter(|code| !code.is_empty() && code.len() <= CODE_BYTES_MAX);
                let code = code.ok_or_else(|| self.missing_code())?;
                self.fetch(flow, pending, &code).await?
            }
        };
        app.secrets().into_iter().for_each(|(kind, secret)| register(kind, secret));
        if let Err(error) = self.sink.store(&app, &self.config.data_dir) {
            error!(%error, "the App's credentials could not be stored; they are kept in memory");
            flow.unstored = Some((pending, app));
            let what =
                "could not be written after GitHub handed out the credentials; they are kept in memory";
            return Err(self.storage_failed(&error, what));
        }
        if let Err(why) = (self.on_registered)(&app) {
            error!(why, "the service cannot work with the App that was just registered");
            return Err(self.service_start_failed(why));
        }
        info!(app = app.slug, id = app.app_id, "the App is registered");
        let StoredApp { name, html_url, owner, .. } = app;
        flow.registered = Some(RegisteredAppSummary { name, html_url, owner });
        Ok(())
    }

    /// Exchanges GitHub's code for the credentials, after it has reserved space for them.
    async fn fetch(
        &self,
        flow: &mut RegistrationFlow,
        pending: PendingRegistration,
        code: &str,
    ) -> Result<(PendingRegistration, StoredApp), Problem> {
        if let Err(error) = self.sink.reserve(&self.config.data_dir) {
            flow.put_back(pending);
            return Err(self.storage_failed(&error, "could not be written"));
        }
        match convert_manifest_code(&self.config.api_url, code).await {
            Ok(app) => Ok((pending, self.stored(app))),
            Err(error) => {
                warn!(%error, "the App's credentials could not be fetched");
                match error {
                    // The answer may be lost and the code used up. A second attempt finds out.
                    GitHubError::Unavailable { .. } => flow.put_back(pending),
                    GitHubError::NotFound { .. }
                    | GitHubError::Forbidden { .. }
                    | GitHubError::Rejected { .. }
                    | GitHubError::ContainsSecret { .. } => self.sink.release(&self.config.data_dir),
                }
                Err(self.conversion_failed(&error))
            }
        }
    }

    async fn first_page(&self, session: &str, organisation: Option<&str>) -> Response {
        let Some(base) = self.config.base() else { return self.problem(&self.missing_public_url()) };
        let organisation = organisation.map(str::trim).filter(|name| !name.is_empty());
        let Ok(organisation) = organisation.map(str::parse::<Login>).transpose() else {
            return self.problem(&self.invalid_organisation());
        };
        let organisation = organisation.as_ref().map(Login::as_str);
        let mut flow = self.flow.lock().await;
        let state = flow.begin(session, (self.clock)());
        let mut action: Url = format!("{}/new", apps_page(&self.config.web_url, organisation))
            .parse()
            .expect("a checked name below an address is an address");
        action.query_pairs_mut().append_pair("state", &state);
        let page = page::start(&Start {
            manifest: &manifest_for(&base, organisation),
            action: &action,
            web_url: &self.config.web_url,
            organisation,
            setup: &self.link(SETUP_PATH),
            credentials: &self.sink.location(&self.config.data_dir),
            on_disk: self.sink == CredentialSink::InDataDir,
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
            api_url: self.config.api_url.clone(),
            web_url: self.config.web_url.clone(),
            registered_at: (self.clock)(),
        }
    }

    fn forbidden(&self, remedy: &'static str) -> Response {
        self.respond(StatusCode::FORBIDDEN, &page::problem(&self.access_refused(remedy)))
    }

    fn problem(&self, problem: &Problem) -> Response {
        self.respond(StatusCode::BAD_REQUEST, &page::problem(problem))
    }

    /// A path as the browser sees it: a proxy may serve us below a path of its own.
    pub(super) fn link(&self, path: &str) -> String {
        match &self.config.public_url {
            Some(url) => below(url, path).path().to_owned(),
            None => path.to_owned(),
        }
    }

    fn redirect(&self, path: &str) -> Response {
        let location = self.link(path);
        self.with_security_headers((StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response())
    }

    fn respond(&self, status: StatusCode, page: &Page) -> Response {
        let html = page.html(&self.link(&format!("{SETUP_PATH}/style.css")));
        let content_type = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
        self.with_security_headers((status, content_type, html).into_response())
    }

    /// No script runs in the page, no page frames it, nothing caches it, and its form goes to GitHub only.
    fn with_security_headers(&self, mut response: Response) -> Response {
        let policy = format!(
            "default-src 'none'; style-src 'self'; form-action 'self' {}; base-uri 'none'; frame-ancestors 'none'",
            self.config.web_url.origin().ascii_serialization()
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
        let base = self.config.public_url.as_ref().filter(|url| !is_loopback(url));
        if let Ok(value) = HeaderValue::try_from(set_cookie(session, base)) {
            response.headers_mut().insert(header::SET_COOKIE, value);
        }
        response
    }
}
