//! verdict (to come).
