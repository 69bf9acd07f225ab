//! The repository as a whole: its map, and its symbols. What comes back was made inside the sandbox
//! and is text for the model, nothing more.

use super::Toolbox;
use crate::sandbox::CallError;
use crate::sandbox::protocol::{FindSymbol, RankedRepoMap, RepoMap, Request, SymbolLocations};

impl Toolbox {
    /// The files of the tree, ranked by what they have to do with a text, and the first of them with
    /// their definitions, rendered within a bound. A second map reads only what has changed.
    pub async fn repo_map(&self, request: &RepoMap) -> Result<RankedRepoMap, CallError> {
        self.link.call(&Request::RepoMap(request.clone())).await
    }

    /// Where a name is defined and used.
    pub async fn find_symbol(&self, request: &FindSymbol) -> Result<SymbolLocations, CallError> {
        self.link.call(&Request::FindSymbol(request.clone())).await
    }
}
