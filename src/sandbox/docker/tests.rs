//! What is decided before an engine is asked, and what it is then asked for.
