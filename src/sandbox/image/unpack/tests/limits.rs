//! Layers that are compressed, truncated, damaged, or much larger than they seem.

use super::*;

#[test]
fn each_compression_is_decoded_and_a_truncated_layer_refused() {
    let tar = tar_of(&[file("a", &"text ".repeat(50_000)), file("b", "x")]);
    let digest = digest_of(&tar);
    let (first, second) = tar.split_at(100_000);
    let skippable = [&0x184d_2a50_u32.to_le_bytes()[..], &5_u32.to_le_bytes(), b"hello"].concat();
    for (bytes, compression) in [
        (gzip(&tar), Compression::Gzip),
        ([gzip(first), gzip(second)].concat(), Compression::Gzip),
        (zstd(&tar), Compression::Zstd),
        ([zstd(first), skippable.clone(), zstd(second), skippable].concat(), Compression::Zstd),
    ] {
        let mut image = Unpacking::begin();
        image.layer_of(&bytes, compression, &digest).unwrap();
        assert_eq!(image.read("a").len(), 250_000);
        // A layer that is cut anywhere does not match its digest.
        for cut in [bytes.len() - 1, bytes.len() / 2, 3] {
            let outcome = Unpacking::begin().layer_of(&bytes[..cut], compression, &digest);
            assert!(
                matches!(outcome, Err(ImageError::Malformed { .. } | ImageError::Digest { .. })),
                "{outcome:?}"
            );
        }
        let outcome = Unpacking::begin().layer_of(b"no such data", compression, &digest);
        assert!(matches!(outcome, Err(ImageError::Malformed { .. })), "{outcome:?}");
    }
}

#[test]
fn zstd_frame_with_a_huge_window_is_refused() {
    // Window descriptor with exponent 31: 2 TiB (RFC 8878, section 3.1.1.1.2).
    let greedy = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xf8, 0x01, 0x00, 0x00];
    let outcome = Unpacking::begin().layer_of(&greedy, Compression::Zstd, &digest_of(b""));
    let Err(ImageError::Malformed { why, .. }) = outcome else { panic!("{outcome:?}") };
    assert!(why.contains("window"), "{why}");
}

#[test]
fn decompression_stops_at_the_limit() {
    let mebibyte = gzip(&vec![0; 1 << 20]);
    let claimed = [gzip(&raw(FILE, b"bomb", 0o644, 1 << 30, b"", b"")), mebibyte.repeat(1024)].concat();
    let trailing = [gzip(&tar_of(&[file("a", "x")])), mebibyte.repeat(1024)].concat();
    assert!(claimed.len() < 8 << 20);
    for bomb in [claimed, trailing] {
        let mut image = Unpacking::begin();
        image.limits.unpacked_bytes_max = 16 << 20;
        let outcome = image.layer_of(&bomb, Compression::Gzip, &digest_of(b""));
        assert!(matches!(outcome, Err(ImageError::OverLimit { .. })), "{outcome:?}");
        assert_eq!(fs::read_dir(image.at("")).unwrap().count(), 0);
    }
}

#[test]
fn size_limit_applies_to_all_layers_together() {
    let mut image = Unpacking::begin();
    let layer = [file("a", &"x".repeat(5000))];
    image.limits.unpacked_bytes_max = 2 * tar_of(&layer).len() as u64;
    image.layer(&layer).unwrap();
    image.layer(&layer).unwrap();
    assert!(matches!(image.layer(&layer), Err(ImageError::OverLimit { .. })));
}

#[test]
fn announced_size_over_the_limit_is_refused_before_anything_is_written() {
    for size in [1 << 33, 8 << 40, u64::MAX >> 1] {
        let outcome = Unpacking::begin().layer(&[raw(FILE, b"huge", 0o644, size, b"", b"x")]);
        assert!(
            matches!(outcome, Err(ImageError::OverLimit { .. } | ImageError::Malformed { .. })),
            "{outcome:?}"
        );
    }
    let outcome = Unpacking::begin().layer(&[pax(&[(b"size", b"99999999999999")]), file("huge", "x")]);
    assert!(matches!(outcome, Err(ImageError::OverLimit { .. })), "{outcome:?}");
    let outcome = Unpacking::begin().layer(&[raw(b'L', b"x", 0, 1 << 30, b"", b"")]);
    assert!(matches!(outcome, Err(ImageError::OverLimit { .. })), "{outcome:?}");
}

#[test]
fn entries_depths_and_lengths_are_limited() {
    let mut image = Unpacking::begin();
    image.limits.entries_max = 5;
    let files: Vec<_> = (0..6).map(|number| file(&format!("f{number}"), "")).collect();
    assert!(matches!(image.layer(&files), Err(ImageError::OverLimit { .. })));
    // Directories without an entry count, too.
    let mut image = Unpacking::begin();
    image.limits.entries_max = 5;
    assert!(matches!(image.layer(&[file("a/b/c/d/e/f", "")]), Err(ImageError::OverLimit { .. })));
    let deep = "d/".repeat(300);
    let outcome = Unpacking::begin().layer(&[pax(&[(b"path", deep.as_bytes())]), directory("x", 0o755)]);
    assert!(matches!(outcome, Err(ImageError::OverLimit { .. })), "{outcome:?}");
    let long = "x".repeat(5000);
    for key in [&b"path"[..], b"linkpath"] {
        let outcome = Unpacking::begin().layer(&[pax(&[(key, long.as_bytes())]), symlink("x", "y")]);
        assert!(matches!(outcome, Err(ImageError::OverLimit { .. })), "{outcome:?}");
    }
    let name = "x".repeat(300);
    let outcome = Unpacking::begin().layer(&[pax(&[(b"path", name.as_bytes())]), file("x", "y")]);
    assert!(matches!(outcome, Err(ImageError::Entry { .. })), "{outcome:?}");
}

#[test]
fn content_that_is_not_a_tar_is_malformed() {
    let damaged = |at: usize, with: u8| {
        let mut tar = tar_of(&[file("a", "x")]);
        tar[at] = with;
        tar
    };
    let whole = tar_of(&[file("a", &"x".repeat(2000))]);
    for tar in [damaged(0, b'b'), vec![b'x'; 2048], whole[..700].to_vec(), whole[..1024].to_vec()] {
        let outcome = Unpacking::begin().layer_of(&tar, Compression::None, &digest_of(&tar));
        assert!(matches!(outcome, Err(ImageError::Malformed { .. })), "{outcome:?}");
    }
    for kind in [b'S', b'V', b'Z'] {
        let outcome = Unpacking::begin().layer(&[raw(kind, b"odd", 0o644, 0, b"", b"")]);
        assert!(matches!(outcome, Err(ImageError::Entry { .. })), "{outcome:?}");
    }
    for broken in [&b"9999 path=x\n"[..], b"x", b"12 path", b"6 abc\n", b"7 path=x\n"] {
        let header = raw(b'x', b"pax", 0o644, broken.len() as u64, b"", broken);
        let outcome = Unpacking::begin().layer(&[header, file("x", "y")]);
        assert!(matches!(outcome, Err(ImageError::Malformed { .. })), "{outcome:?}");
    }
    let outcome = Unpacking::begin().layer(&vec![pax(&[(b"path", b"x")]); 100]);
    assert!(matches!(outcome, Err(ImageError::Malformed { .. })), "{outcome:?}");
}
