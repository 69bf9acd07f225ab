//! Telemetry (to come).
