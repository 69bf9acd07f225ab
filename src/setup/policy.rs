//! The operator's rules for setups.

use crate::domain::AllowedHost;
use crate::sandbox::CacheLimits;

/// What setups may do and cost.
#[derive(Debug, Clone, PartialEq)]
pub struct SetupPolicy {
    /// Hosts that a setup may reach; empty: no network.
    pub allowed_hosts: Vec<AllowedHost>,
    /// Variables that setup commands see in addition to the sandbox's own, for instance the address of an
    /// internal registry. Never a secret.
    pub variables: Vec<(String, String)>,
    /// Globs of the images that a repository may choose.
    pub images: Vec<String>,
    /// Most bytes that a setup may send and receive together.
    pub egress_bytes_max: u64,
    /// US dollars of a job's budget that the setup agent may spend where no plan is good; 0: there is no such agent.
    pub agent_usd: f64,
    /// Whether the agent may run the commands that a repository allows.
    pub commands: bool,
    /// Whether the agent may run scripts in sandboxes of their own.
    pub scripts: bool,
    /// Limits of the setup cache.
    pub kept: CacheLimits,
    /// Whether a setup runs again, with that network, for a proposal that changes lock files.
    pub network_for_proposals: bool,
    /// The name of the only repository; `None`: each repository has its number.
    pub repository: Option<String>,
}

impl SetupPolicy {
    /// Whether the setup agent may look for a setup: it costs money, and needs hosts to download from.
    pub fn lets_agent_search(&self) -> bool {
        self.agent_usd > 0.0 && !self.allowed_hosts.is_empty()
    }
}

impl Default for SetupPolicy {
    /// No network; 4 GiB if hosts are named.
    fn default() -> Self {
        Self {
            allowed_hosts: Vec::new(),
            variables: Vec::new(),
            images: Vec::new(),
            egress_bytes_max: 4 << 30,
            agent_usd: 0.0,
            commands: true,
            scripts: true,
            kept: CacheLimits::default(),
            network_for_proposals: false,
            repository: None,
        }
    }
}
