//! The routes of the HTTP server: health, the public keys of manifests, the setup pages, and whatever the service serves once it has credentials.

use std::sync::{Arc, OnceLock};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tower_http::catch_panic::CatchPanicLayer;
use tower_service::Service;
use tracing::warn;

use crate::install::AppRegistration;
use crate::provenance::PUBLIC_KEYS_PATH;
use crate::store::Store;

/// The service's routes, set once it has credentials.
pub(super) type ServiceRoutes = Arc<OnceLock<Router>>;

pub(super) fn router(
    store: Arc<dyn Store>,
    public_keys: String,
    routes: ServiceRoutes,
    registration: Option<&Arc<AppRegistration>>,
) -> Router {
    let health = Router::new().route("/healthz", get(health)).with_state(store);
    let keys = Router::new().route(PUBLIC_KEYS_PATH, get(async move || public_keys));
    let pages = registration.map(|registration| registration.router()).unwrap_or_default();
    let service = Router::new().fallback(forward).with_state(routes);
    health.merge(keys).merge(pages).fallback_service(service).layer(CatchPanicLayer::new())
}

/// Forwards a request to the service's routes, if it has credentials already.
async fn forward(State(routes): State<ServiceRoutes>, request: Request) -> Response {
    let Some(router) = routes.get() else {
        let why = "the GitHub App is not registered yet; the service's log says how";
        return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "error": why }))).into_response();
    };
    // A router is always ready.
    let Ok(response) = router.clone().call(request).await;
    response
}

/// Healthy means that a delivery can be stored.
async fn health(State(store): State<Arc<dyn Store>>) -> (StatusCode, Json<Value>) {
    match store.check_writable().await {
        Ok(()) => (StatusCode::OK, Json(json!({"status": "ok", "version": env!("CARGO_PKG_VERSION")}))),
        Err(error) => {
            warn!(%error, "health check failed");
            let body = json!({"status": "the store does not answer; the log says why"});
            (StatusCode::SERVICE_UNAVAILABLE, Json(body))
        }
    }
}
