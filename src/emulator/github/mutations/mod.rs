//! Changes that people and Apps make, each with the webhooks that report it. REST, GraphQL, git, the
//! admin API and the library all change the database through here.

mod actor;
mod branches;
mod checks;
mod comments;
mod disruptions;
mod issues;
mod labels;
mod pulls;
mod references;
mod reviews;
mod webhooks;

pub(crate) use actor::Actor;
pub(crate) use disruptions::{apply_disruption, rename_repository};
pub(crate) use issues::IssueEdit;
pub(crate) use pulls::NewPullRequest;
pub(crate) use reviews::{NewReview, NewReviewComment};
pub(crate) use webhooks::{continue_held, redeliver, redeliver_newest};
