//! The GraphQL endpoint. It recognizes a query by the name of its field and knows four of them.

mod closing_references;
mod commit_on_branch;
mod draft;
mod error;

use serde_json::{Value, json};

use crate::github::rest::call::ApiCall;
use crate::github::rest::response::{ApiResponse, ApiResult};
use error::GraphqlError;

/// Carries out a query.
pub(super) fn run(call: &mut ApiCall<'_>) -> ApiResult {
    let query = call.required_text("Query", "query")?;
    let known = [
        commit_on_branch::FIELD,
        closing_references::FIELD,
        draft::MARK_READY_FIELD,
        draft::CONVERT_TO_DRAFT_FIELD,
    ];
    let Some(field) = known.into_iter().find(|field| query.contains(field)) else {
        return Ok(ApiResponse::ok(
            json!({"errors": [{"message": "the emulator does not know this query"}]}),
        ));
    };
    call.db.count_call(&format!("graphql/{field}"));
    let result = match field {
        commit_on_branch::FIELD => commit_on_branch::create(call),
        closing_references::FIELD => closing_references::find(call),
        _ => draft::set_draft(call, field, &query),
    };
    Ok(ApiResponse::ok(match result {
        Ok(data) => json!({ "data": data }),
        Err(GraphqlError::Api(error)) => return Err(error),
        Err(GraphqlError::Field { kind, message }) => {
            // The field of a mutation is null; a query without its object has no data at all.
            let data = if field == closing_references::FIELD { Value::Null } else { json!({ field: null }) };
            json!({"data": data, "errors": [{"type": kind, "path": [field], "message": message}]})
        }
    }))
}
