//! worker (to come).
