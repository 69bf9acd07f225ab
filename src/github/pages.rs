//! Lists that GitHub returns page by page. octocrab reads a page and its link to the next one; the loop
//! stays here, because octocrab follows a link to any host, without the token and without a bound.

use http::{Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use octocrab::{FromResponse, Page};
use serde::de::DeserializeOwned;

use super::api_client::{ApiClient, Sender};
use super::error::GitHubError;
use super::request::{ApiRequest, ApiResponse, invalid_response};
use super::response::unreadable;

/// The most entries that GitHub returns in one page.
pub(super) const PAGE_ENTRIES: usize = 100;
/// GitHub closes an issue for comments long before it has this many pages.
const PAGES_MAX: usize = 50;

/// A list that is read page by page.
pub(super) struct Pages {
    what: String,
    /// The path of the next page; `None` after the last one.
    next: Option<String>,
    pages_left: usize,
    if_none_match: Option<String>,
    /// The `ETag` of the first page.
    pub(super) tag: Option<String>,
    /// Whether GitHub said that the caller has the list already.
    pub(super) is_unchanged: bool,
}

impl Pages {
    /// The list that begins at `path`, up to `pages_max` pages.
    pub(super) fn new(what: &str, path: String, pages_max: usize) -> Self {
        Self {
            what: what.to_owned(),
            next: Some(path),
            pages_left: pages_max,
            if_none_match: None,
            tag: None,
            is_unchanged: false,
        }
    }

    /// The list, unless its `ETag` is still `tag`.
    pub(super) fn unless_tagged(self, tag: Option<&str>) -> Self {
        Self { if_none_match: tag.map(str::to_owned), ..self }
    }

    /// Whether the list has pages that were not read.
    pub(super) fn has_more(&self) -> bool {
        self.next.is_some()
    }

    /// The entries of the next page; `None` after the last page or the bound.
    pub(super) async fn next<T: DeserializeOwned>(
        &mut self,
        client: &ApiClient,
        sender: Sender<'_>,
    ) -> Result<Option<Vec<T>>, GitHubError> {
        let Some(pages_left) = self.pages_left.checked_sub(1) else { return Ok(None) };
        let Some(path) = self.next.take() else { return Ok(None) };
        self.pages_left = pages_left;
        let mut request = ApiRequest::get(&self.what, path);
        request.if_none_match = self.if_none_match.take();
        let response = client.send(sender, &request).await?;
        if response.status == StatusCode::NOT_MODIFIED {
            self.is_unchanged = true;
            return Ok(None);
        }
        if self.tag.is_none() {
            self.tag = response.header(header::ETAG).map(str::to_owned);
        }
        let page = read_page::<T>(&self.what, response).await?;
        if let Some(next) = &page.next {
            self.next = Some(client.transport.path_of_page(&self.what, next)?);
        }
        Ok(Some(page.items))
    }
}

/// All entries of a list. A list with too many pages is an error, because a part of it would be taken
/// for the whole.
pub(super) async fn all_entries<T: DeserializeOwned>(
    client: &ApiClient,
    sender: Sender<'_>,
    what: &str,
    path: String,
) -> Result<Vec<T>, GitHubError> {
    let mut pages = Pages::new(what, path, PAGES_MAX);
    let mut all = Vec::new();
    while let Some(entries) = pages.next(client, sender).await? {
        all.extend(entries);
    }
    if pages.has_more() {
        let detail = format!("there are more than {PAGES_MAX} pages");
        return Err(GitHubError::Rejected { what: what.to_owned(), detail });
    }
    Ok(all)
}

async fn read_page<T: DeserializeOwned>(what: &str, response: ApiResponse) -> Result<Page<T>, GitHubError> {
    let body = Full::new(response.body).map_err(|never| match never {}).boxed();
    let mut message = Response::new(body);
    *message.headers_mut() = response.headers;
    Page::from_response(message).await.map_err(|error| match error {
        octocrab::Error::Serde { source, .. } => unreadable(what, &source),
        error => invalid_response(what, error),
    })
}
