//! A request as it arrived.

use std::collections::BTreeMap;

/// A request to the API.
#[derive(Debug, Clone)]
pub(crate) struct ApiRequest {
    pub(crate) method: String,
    /// Without the API's prefix; still percent-encoded.
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    /// With lower-case names.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}
