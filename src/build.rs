//! Builds the toolbox (the crate in `src/toolbox`) as a static binary and leaves it in `OUT_DIR`,
//! where `src/sandbox` embeds it. It runs inside any root file system, so it may need no library.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

const TOOLBOX: &str = "mendwright-toolbox";
/// What cargo leaves at the top of a target directory.
const TARGET_DIR_TAG: &str = "CACHEDIR.TAG";

fn main() {
    // `src/guide` is embedded too, and only this line notices new chapters.
    for path in ["src/build.rs", "src/guide", "src/toolbox", "Cargo.lock", "Cargo.toml"] {
        println!("cargo::rerun-if-changed={path}");
    }
    if let Err(problem) = build_toolbox() {
        println!("cargo::error=the toolbox (src/toolbox) could not be built: {problem}");
        std::process::exit(1);
    }
}

fn build_toolbox() -> Result<(), String> {
    let variable = |name: &str| env::var(name).map_err(|e| format!("cargo did not set {name}: {e}"));
    let target = variable("TARGET")?;
    let out_dir = PathBuf::from(variable("OUT_DIR")?);
    let manifest = PathBuf::from(variable("CARGO_MANIFEST_DIR")?).join("Cargo.toml");
    if !target.contains("-linux-") {
        return Err(format!("Mendwright's sandboxes need Linux, and the target is {target}"));
    }
    let profile = match variable("PROFILE")?.as_str() {
        "release" => "toolbox",
        _ => "toolbox-dev",
    };
    let target_dir = toolbox_target_dir(&out_dir);

    let mut cargo = Command::new(variable("CARGO")?);
    cargo.args(["build", "--locked", "--package", TOOLBOX, "--profile", profile, "--target", &target]);
    cargo.arg("--manifest-path").arg(&manifest).arg("--target-dir").arg(&target_dir);
    forget_outer_build(&mut cargo);
    // Only with an explicit --target do these flags spare build scripts and macros, which cannot
    // be static.
    cargo.env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static");

    let output = cargo.output().map_err(|e| format!("cargo could not be started: {e}"))?;
    if !output.status.success() {
        let report = String::from_utf8_lossy(&output.stderr).replace('\n', "\ncargo::error=");
        return Err(format!("cargo ended with {}\ncargo::error={report}", output.status));
    }
    let built = target_dir.join(&target).join(profile).join(TOOLBOX);
    let embedded = out_dir.join(TOOLBOX);
    fs::copy(&built, &embedded)
        .map_err(|e| format!("{} could not be copied to {}: {e}", built.display(), embedded.display()))?;
    Ok(())
}

/// A target directory of its own: cargo holds a lock on the outer one for as long as we run. All profiles
/// share it, so that what it builds for the host is built once.
fn toolbox_target_dir(out_dir: &Path) -> PathBuf {
    let outer = out_dir.ancestors().find(|directory| directory.join(TARGET_DIR_TAG).is_file());
    outer.unwrap_or(out_dir).join("toolbox")
}

/// What the outer cargo (or clippy, or a coverage tool) says about *its* build would confuse ours.
/// Where cargo finds its home, registries and network stays.
fn forget_outer_build(cargo: &mut Command) {
    const FORGOTTEN_PREFIXES: [&str; 5] =
        ["CARGO_FEATURE_", "CARGO_CFG_", "CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_PROFILE_"];
    const FORGOTTEN: [&str; 17] = [
        "CARGO_TARGET_DIR",
        "RUSTFLAGS",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTC_LINKER",
        "RUSTDOCFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_BUILD_RUSTC_WRAPPER",
        "CARGO_BUILD_RUSTC_WORKSPACE_WRAPPER",
        "CARGO_BUILD_RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "CARGO_BUILD_TARGET_DIR",
        "CARGO_PRIMARY_PACKAGE",
        "CLIPPY_ARGS",
        "CLIPPY_CONF_DIR",
        "LLVM_PROFILE_FILE",
        "OUT_DIR",
    ];
    for (name, _) in env::vars_os() {
        let Some(name) = name.to_str() else { continue };
        if FORGOTTEN.contains(&name) || FORGOTTEN_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
            cargo.env_remove(name);
        }
    }
}
