//! workspace (to come).
