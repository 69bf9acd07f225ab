//! The REST API and the GraphQL endpoint: from a request's bytes to its response. Synchronous; runs while
//! the database is locked.

mod access;
mod call;
mod dispatch;
mod graphql;
mod operations;
mod pagination;
mod request;
mod response;
mod routes;

pub(crate) use access::{basic_token, valid_token};
pub(crate) use dispatch::{add_headers, respond};
pub(crate) use operations::OPERATIONS;
pub(crate) use request::ApiRequest;
pub(crate) use response::{ApiError, ApiResponse};
