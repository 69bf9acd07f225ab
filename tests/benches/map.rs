//! How long the agent waits to see a whole repository: its map, cold and after a change, and a search,
//! each beside its floor or peer in the same run, and the memory of the map's process. On a tree that is
//! made here, of 3,000 files and of 100,000, or on the one that `MENDWRIGHT_BENCH_TREE` names.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use mendwright::domain::SandboxKind;
use mendwright::sandbox::protocol::{RankedRepoMap, RepoMap, Search, WriteFile};
use mendwright::sandbox::{CommandSpec, SandboxSpec, Toolbox, connect_default};

const ISSUE: &str = "Rounding of the invoice total is wrong\n\n`invoice_total_17` drops the cents, see module_17/file_117.py:12";

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn row(what: &str, ours: Duration, peer_of: &str, peer: Duration) {
    let ratio = ours.as_secs_f64() / peer.as_secs_f64();
    println!(
        "{what:<42} {:>9.1} ms   {peer_of:<34} {:>9.1} ms   {ratio:>6.2} ×",
        ours.as_secs_f64() * 1e3,
        peer.as_secs_f64() * 1e3
    );
}

/// A source file of about 8 kB in one of four languages, which uses what others define.
fn source(n: usize) -> (String, String) {
    let directory = format!("module_{}", n % 100);
    let mut text = String::new();
    let other = |k: usize| (n * 7 + k * 13) % 3_000;
    let name = match n % 4 {
        0 => {
            for k in 0..28 {
                write!(
                    text,
                    "def invoice_total_{n}_{k}(lines, currency=None):\n    \"\"\"Sums the lines of an invoice.\"\"\"\n    \
                     total = 0\n    for line in lines:\n        if line.amount > {k}:\n            total += \
                     invoice_total_{}_{k}(line.parts, currency)\n    return round_cents(total)\n\n\n",
                    other(k)
                )
                .unwrap();
            }
            "py"
        }
        1 => {
            for k in 0..32 {
                write!(
                    text,
                    "export function renderRow{n}x{k}(row: Row, width: number): string {{\n  const cells = \
                     row.cells.map(cell => renderRow{}x{k}(cell, width / 2));\n  if (cells.length === 0) {{\n    return \
                     \"\";\n  }}\n  return cells.join(\" \");\n}}\n\n",
                    other(k)
                )
                .unwrap();
            }
            "ts"
        }
        2 => {
            text.push_str("package store\n\n");
            for k in 0..34 {
                write!(
                    text,
                    "// LoadOrder{n}x{k} reads an order.\nfunc LoadOrder{n}x{k}(id int64, store *Store) (*Order, error) \
                     {{\n\torder, err := LoadOrder{}x{k}(id+1, store)\n\tif err != nil {{\n\t\treturn nil, \
                     err\n\t}}\n\treturn order, nil\n}}\n\n",
                    other(k)
                )
                .unwrap();
            }
            "go"
        }
        _ => {
            for k in 0..34 {
                write!(
                    text,
                    "/// Takes a parcel on.\npub fn take_parcel_{n}_{k}(parcel: &Parcel, depot: &mut Depot) -> \
                     Result<(), Error> {{\n    let next = depot.route(parcel.address())?;\n    \
                     take_parcel_{}_{k}(parcel, next)?;\n    Ok(())\n}}\n\n",
                    other(k)
                )
                .unwrap();
            }
            "rs"
        }
    };
    (format!("{directory}/file_{n}.{name}"), text)
}

/// A tree on the disk, in memory, and as the tar stream that goes into a sandbox.
struct Tree {
    directory: PathBuf,
    tar: Vec<u8>,
    files: usize,
    bytes: usize,
    _made: Option<tempfile::TempDir>,
}

impl Tree {
    fn made(count: usize) -> Self {
        let made = tempfile::tempdir_in("/dev/shm").unwrap();
        for n in 0..count {
            let (path, mut text) = source(n);
            if count > 10_000 {
                text.truncate(text.len() / 4);
            }
            let path = made.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Self { _made: Some(made), ..Self::at(Path::new("")) }.packed()
    }

    fn at(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), tar: Vec::new(), files: 0, bytes: 0, _made: None }
    }

    fn packed(mut self) -> Self {
        if let Some(made) = &self._made {
            self.directory = made.path().to_owned();
        }
        let tar = Command::new("tar")
            .arg("-C")
            .arg(&self.directory)
            .args(["--exclude=.git", "-c", "."])
            .output()
            .unwrap();
        self.tar = tar.stdout;
        let listed = Command::new("rg").arg("--files").arg(&self.directory).output().unwrap();
        for path in String::from_utf8_lossy(&listed.stdout).lines() {
            self.files += 1;
            self.bytes += std::fs::metadata(path).map_or(0, |metadata| metadata.len() as usize);
        }
        self
    }
}

async fn sandbox(tree: &Tree, label: String) -> Toolbox {
    let sandbox = connect_default(SandboxKind::Bubblewrap).unwrap();
    let toolbox = sandbox.start(&SandboxSpec::named(label)).await.unwrap();
    toolbox.unpack(tree.tar.as_slice()).await.unwrap();
    toolbox
}

async fn map(toolbox: &Toolbox) -> (Duration, RankedRepoMap) {
    let request = RepoMap { text: ISSUE.to_owned(), paths: Vec::new(), tokens_max: 4_000 };
    let started = Instant::now();
    let mapped = toolbox.repo_map(&request).await.unwrap();
    (started.elapsed(), mapped)
}

/// The most memory that the map's process had, in MB.
async fn memory(toolbox: &Toolbox) -> u64 {
    let command = "for p in /proc/[0-9]*; do grep -qz '^map$' $p/cmdline && grep VmHWM $p/status; done; true";
    let result = toolbox.run(&CommandSpec::shell(command, Duration::from_secs(60))).await.unwrap();
    let text = result.output.to_text();
    let kilobytes: u64 = text.split_ascii_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap();
    kilobytes / 1_024
}

fn ripgrep(tree: &Tree, arguments: &[&str]) -> Duration {
    let started = Instant::now();
    let mut rg = Command::new("rg");
    rg.args(arguments).arg(&tree.directory).stdout(Stdio::null());
    // No match is no failure.
    assert!(rg.status().unwrap().code().is_some_and(|code| code < 2));
    started.elapsed()
}

async fn maps(tree: &Tree, what: &str, rounds: usize) {
    let (mut cold, mut warm, mut floors) = (Vec::new(), Vec::new(), Vec::new());
    let mut peak = 0;
    for round in 0..rounds {
        let toolbox = sandbox(tree, format!("bench-map-{round}")).await;
        let (took, mapped) = map(&toolbox).await;
        cold.push(took);
        if round == 0 {
            println!("{what}: {} files, {} MB; {:?}", tree.files, tree.bytes >> 20, mapped.counts);
        }
        for change in 0..7 {
            let content = format!("def changed_{change}(lines):\n    return lines\n");
            let write = WriteFile { path: "changed/here.py".to_owned(), content, executable: None };
            toolbox.write_file(&write).await.unwrap();
            let (took, mapped) = map(&toolbox).await;
            assert!(mapped.counts.not_looked_at > 0 || mapped.counts.read <= 1, "{:?}", mapped.counts);
            warm.push(took);
        }
        peak = peak.max(memory(&toolbox).await);
        toolbox.shut_down().await;
        floors.push(ripgrep(tree, &["--count", "."]));
    }
    row(&format!("{what}: map, cold"), median(cold), "rg --count . (reads it all)", median(floors.clone()));
    row(
        &format!("{what}: map, one file changed"),
        median(warm),
        "rg --count . (reads it all)",
        median(floors),
    );
    println!("{:<42} {peak:>9} MB", format!("{what}: most memory of the map's process"));
}

async fn searches(tree: &Tree) {
    let toolbox = sandbox(tree, "bench-search".to_owned()).await;
    for (what, pattern, literal) in [
        ("search: a name that is rare", "invoice_total_1700_3", true),
        ("search: a pattern, no match", r"fn \w+_quux\(", false),
        ("search: two words on a line", r"return .*order", false),
    ] {
        let request = Search {
            pattern: pattern.to_owned(),
            literal,
            path: String::new(),
            glob: None,
            context_lines: 0,
            matches_max: 100,
        };
        let (mut ours, mut peers) = (Vec::new(), Vec::new());
        for _ in 0..15 {
            let started = Instant::now();
            toolbox.search(&request).await.unwrap();
            ours.push(started.elapsed());
            let fixed = if literal { "--fixed-strings" } else { "--no-fixed-strings" };
            peers.push(ripgrep(tree, &["--line-number", "--hidden", fixed, "--", pattern]));
        }
        row(what, median(ours), "rg", median(peers));
    }
    toolbox.shut_down().await;
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let named = std::env::var_os("MENDWRIGHT_BENCH_TREE");
        let tree = match &named {
            Some(directory) => Tree::at(Path::new(directory)).packed(),
            None => Tree::made(3_000),
        };
        maps(&tree, if named.is_some() { "named tree" } else { "3,000 files" }, 3).await;
        searches(&tree).await;
        drop(tree);
        if named.is_none() {
            maps(&Tree::made(100_000), "100,000 files", 1).await;
        }
    });
}
