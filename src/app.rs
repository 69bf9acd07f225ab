//! Composition root (to come).
