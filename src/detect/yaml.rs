//! How YAML of a repository is parsed: within bounds, because strangers wrote it.

/// Largest sum of all scalars, after aliases are expanded.
const SCALAR_BYTES_MAX: usize = 128 << 10;

/// For YAML that strangers wrote. No honest file reaches any of these. The bytes are counted after
/// aliases are expanded.
pub(crate) fn yaml_options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 20_000,
            max_nodes: 10_000,
            max_depth: 16,
            max_anchors: 50,
            max_aliases: 50,
            max_total_scalar_bytes: SCALAR_BYTES_MAX,
        },
        with_snippet: false,
    }
}
