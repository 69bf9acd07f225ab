//! The repository as a whole: its map and its symbols. The responses are made inside the sandbox; they
//! are text for the model and nothing more.

use mendwright_protocol::{FindSymbol, RankedRepoMap, RepoMap, Request, SymbolLocations};

use super::Toolbox;
use crate::sandbox::error::CallError;

impl Toolbox {
    /// Ranks the files of the tree by how relevant they are to a text, and renders the best of them with
    /// their definitions, within a limit. A second map reads only what has changed.
    pub async fn repo_map(&self, request: &RepoMap) -> Result<RankedRepoMap, CallError> {
        self.rpc.call(&Request::RepoMap(request.clone())).await
    }

    /// Finds where a name is defined and used.
    pub async fn find_symbol(&self, request: &FindSymbol) -> Result<SymbolLocations, CallError> {
        self.rpc.call(&Request::FindSymbol(request.clone())).await
    }
}
