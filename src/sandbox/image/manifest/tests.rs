use serde_json::json;

use super::*;

fn digest(of: &str) -> String {
    digest_of(of.as_bytes())
}

fn parse(document: &serde_json::Value) -> Result<Document, ImageError> {
    Document::parse(document.to_string().as_bytes(), &ImageLimits::default())
}

fn manifest(layer_type: &str, size: u64) -> serde_json::Value {
    json!({
        "schemaVersion": 2,
        "mediaType": MANIFESTS[0],
        "config": {"mediaType": CONFIGS[0], "digest": digest("config"), "size": 7},
        "layers": [{"mediaType": layer_type, "digest": digest("layer"), "size": size}],
    })
}

fn entry(os: &str, architecture: &str, variant: Option<&str>) -> Descriptor {
    let platform = Platform {
        os: os.to_owned(),
        architecture: architecture.to_owned(),
        variant: variant.map(str::to_owned),
    };
    let name = format!("{os}/{architecture}/{variant:?}");
    Descriptor {
        media_type: MANIFESTS[0].to_owned(),
        digest: digest(&name),
        size: 1,
        platform: Some(platform),
        annotations: None,
    }
}

#[test]
fn media_type_of_a_layer_decides_its_compression() {
    for (kind, expected) in [
        ("application/vnd.oci.image.layer.v1.tar", Compression::None),
        ("application/vnd.oci.image.layer.v1.tar+gzip", Compression::Gzip),
        ("application/vnd.docker.image.rootfs.diff.tar.gzip", Compression::Gzip),
        ("application/vnd.oci.image.layer.v1.tar+zstd", Compression::Zstd),
    ] {
        let Document::Manifest(manifest) = parse(&manifest(kind, 1)).unwrap() else { panic!("{kind}") };
        assert_eq!(manifest.layers[0].compression, expected);
    }
    let outcome = parse(&manifest("application/vnd.oci.image.layer.v1.tar+encrypted", 1));
    assert!(matches!(outcome, Err(ImageError::MediaType { .. })), "{outcome:?}");
}

#[test]
fn document_that_is_not_an_image_differs_from_a_malformed_one() {
    let mut chart = manifest("application/vnd.cncf.helm.chart.content.v1.tar+gzip", 1);
    chart["config"]["mediaType"] = json!("application/vnd.cncf.helm.config.v1+json");
    assert!(matches!(parse(&chart), Err(ImageError::NotAnImage(_))));
    assert!(matches!(parse(&json!({"schemaVersion": 1, "fsLayers": []})), Err(ImageError::NotAnImage(_))));
    assert!(matches!(parse(&json!({"schemaVersion": 2})), Err(ImageError::NotAnImage(_))));
    let foreign = json!({"schemaVersion": 2, "mediaType": "application/x-other", "layers": []});
    assert!(matches!(parse(&foreign), Err(ImageError::MediaType { .. })));
    // A document with both could be read in two ways.
    let mut both = manifest("application/vnd.oci.image.layer.v1.tar", 1);
    both["manifests"] = json!([]);
    assert!(matches!(parse(&both), Err(ImageError::NotAnImage(_))));
    assert!(matches!(Document::parse(b"<html>", &ImageLimits::default()), Err(ImageError::Malformed { .. })));
}

#[test]
fn digest_with_a_path_is_refused() {
    for digest in ["sha256:../../../etc/passwd", "../x", "sha256:", "md5:0123", &digest("x").to_uppercase()] {
        let mut document = manifest("application/vnd.oci.image.layer.v1.tar", 1);
        document["layers"][0]["digest"] = json!(digest);
        assert!(matches!(parse(&document), Err(ImageError::Malformed { .. })), "{digest}");
    }
}

#[test]
fn layers_are_limited_in_number_and_size() {
    let mut document = manifest("application/vnd.oci.image.layer.v1.tar", u64::MAX);
    assert!(matches!(parse(&document), Err(ImageError::OverLimit { .. })));
    document["layers"][0]["size"] = json!(-1);
    assert!(matches!(parse(&document), Err(ImageError::Malformed { .. })));
    let layer =
        json!({"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest("x"), "size": 1});
    document["layers"] = json!(vec![layer.clone(); 129]);
    assert!(matches!(parse(&document), Err(ImageError::OverLimit { .. })));
    // Sizes whose sum overflows.
    let mut large = layer;
    large["size"] = json!(u64::MAX / 2 + 1);
    document["layers"] = json!([large, large]);
    assert!(matches!(parse(&document), Err(ImageError::OverLimit { .. })));
}

#[test]
fn manifest_for_linux_on_this_architecture_is_picked() {
    let ours = entry("linux", architecture(), None);
    let newer = entry("linux", architecture(), Some("v3"));
    let others = [entry("windows", architecture(), None), entry("linux", "vax", None)];
    let attestation = entry("unknown", "unknown", None);
    let all = [&others[..], &[newer.clone(), ours.clone(), attestation.clone()]].concat();
    assert_eq!(pick_platform(&all).unwrap(), &ours);
    assert_eq!(pick_platform(&[attestation.clone(), newer.clone()]).unwrap(), &newer);
    let error = pick_platform(&[&others[..], &[attestation]].concat()).unwrap_err().to_string();
    let expected = format!(
        "it has no image for linux/{0}, only for windows/{0}, linux/vax, unknown/unknown",
        architecture()
    );
    assert_eq!(error, expected);
    let unnamed = Descriptor { platform: None, ..ours };
    assert_eq!(pick_platform(std::slice::from_ref(&unnamed)).unwrap(), &unnamed);
    assert!(pick_platform(&[unnamed.clone(), unnamed]).is_err());
    assert!(pick_platform(&[]).is_err());
}

#[test]
fn missing_name_in_a_local_index_is_an_error_with_the_known_names() {
    let named = |name: &str| Descriptor {
        annotations: Some([(NAMES[0].to_owned(), name.to_owned())].into()),
        ..entry("linux", "amd64", None)
    };
    let index = || vec![named("1.0"), named("registry.example/x:2.0")];
    assert_eq!(pick_named(index(), Some("2.0")).unwrap(), [named("registry.example/x:2.0")]);
    assert_eq!(pick_named(vec![named("1.0")], None).unwrap(), [named("1.0")]);
    let error = pick_named(index(), None).unwrap_err().to_string();
    assert_eq!(error, "there is more than one image; name one of: 1.0, registry.example/x:2.0");
    assert!(matches!(pick_named(index(), Some("3.0")), Err(ImageError::NotFound { .. })));
}

#[test]
fn configuration_for_another_manifest_or_machine_is_refused() {
    let config = |os: &str, architecture: &str, diff_ids: &[String]| {
        let config = json!({
            "os": os, "architecture": architecture,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "config": {"Env": ["PATH=/bin", "A=b=c", "broken", "=x", "NUL=\0"]},
        });
        Config::parse(config.to_string().as_bytes(), 1)
    };
    let parsed = config("linux", architecture(), &[digest("x")]).unwrap();
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(parsed.env, [pair("PATH", "/bin"), pair("A", "b=c")]);
    assert!(matches!(config("linux", "vax", &[digest("x")]), Err(ImageError::Platform { .. })));
    assert!(matches!(config("windows", architecture(), &[digest("x")]), Err(ImageError::Platform { .. })));
    assert!(matches!(config("linux", architecture(), &[]), Err(ImageError::Malformed { .. })));
    assert!(matches!(config("linux", architecture(), &["x".to_owned()]), Err(ImageError::Malformed { .. })));
}
