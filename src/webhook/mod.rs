//! webhook (to come).
