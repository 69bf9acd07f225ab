//! How YAML that strangers wrote is read.

/// The longest text, in bytes, after aliases are expanded.
const EXPANDED_BYTES_MAX: usize = 128 * 1024;

/// Bounds that no honest file reaches, so that a small file cannot expand into a large one.
pub fn yaml_options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 20_000,
            max_nodes: 10_000,
            max_depth: 16,
            max_anchors: 50,
            max_aliases: 50,
            max_total_scalar_bytes: EXPANDED_BYTES_MAX,
        },
        with_snippet: false,
    }
}
