//! agent (to come).
