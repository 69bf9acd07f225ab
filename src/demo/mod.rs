//! demo (to come).
