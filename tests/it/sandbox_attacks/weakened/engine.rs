//! A proxy to an engine that changes some requests, at the socket between the product and the real engine.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use mendwright::domain::{EngineConfig, SandboxKind};
use mendwright::sandbox::{Docker, SandboxOptions};
use serde_json::Value;

/// The label of a container that is a sandbox. Containers for building images have none.
const OF_A_SANDBOX: &str = "/Labels/mendwright.job";
const HEAD_BYTES_MAX: u64 = 64 << 10;

/// How a rule changes a request.
#[derive(Debug, Clone)]
enum Change {
    /// `POINTER = VALUE`; without a value, the field is removed.
    Set(String, Option<Value>),
    /// `POINTER += VALUE`: adds an element to a list.
    Add(String, Value),
}

impl Change {
    fn parse(rule: &str) -> Self {
        let json = |text: &str| serde_json::from_str(text).unwrap_or_else(|e| panic!("'{rule}': {e}"));
        if let Some((place, value)) = rule.split_once(" += ") {
            return Self::Add(place.to_owned(), json(value));
        }
        let (place, value) = rule.split_once(" =").unwrap_or_else(|| panic!("'{rule}' is no rule"));
        let value = value.trim();
        Self::Set(place.to_owned(), (!value.is_empty()).then(|| json(value)))
    }

    fn make(&self, body: &mut Value) {
        let (Self::Set(place, _) | Self::Add(place, _)) = self;
        let (above, name) = place.rsplit_once('/').unwrap_or_else(|| panic!("'{place}' is no pointer"));
        let name = name.replace("~1", "/");
        let above = body.pointer_mut(above).and_then(Value::as_object_mut);
        let above = above.unwrap_or_else(|| panic!("nothing is above '{place}'"));
        match self {
            Self::Set(_, Some(value)) => drop(above.insert(name, value.clone())),
            Self::Set(_, None) => {
                above.remove(&name).unwrap_or_else(|| panic!("'{place}' is not there to be taken out"));
            }
            Self::Add(_, value) => match above.entry(name).or_insert(Value::Null) {
                Value::Array(list) => list.push(value.clone()),
                other => *other = Value::Array(vec![value.clone()]),
            },
        }
    }
}

/// The backend with such an engine. The directory must be kept as long.
pub fn weakened_docker(rules: &[String]) -> (tempfile::TempDir, Docker) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("engine.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let changes: Arc<[Change]> = rules.iter().map(|rule| Change::parse(rule)).collect();
    thread::spawn(move || {
        while let Ok((client, _)) = listener.accept() {
            let changes = Arc::clone(&changes);
            // Either side may close the connection.
            thread::spawn(move || drop(stand_between(client, &changes)));
        }
    });
    let engine =
        EngineConfig { socket: Some(format!("unix://{}", socket.display())), ..EngineConfig::default() };
    let docker = Docker::new(&SandboxOptions { engine, ..SandboxOptions::standalone(SandboxKind::Docker) });
    (directory, docker.unwrap())
}

fn real_engine() -> PathBuf {
    let named = std::env::var("DOCKER_HOST").ok();
    named.as_deref().and_then(|host| host.strip_prefix("unix://")).unwrap_or("/var/run/docker.sock").into()
}

fn stand_between(client: UnixStream, changes: &[Change]) -> io::Result<()> {
    let mut engine = UnixStream::connect(real_engine())?;
    let (mut answers, mut to_client) = (engine.try_clone()?, client.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut answers, &mut to_client);
        let _ = to_client.shutdown(Shutdown::Write);
    });
    let mut requests = BufReader::new(client);
    let passed = pass_requests(&mut requests, &mut engine, changes);
    let _ = engine.shutdown(Shutdown::Write);
    passed
}

fn pass_requests(
    requests: &mut BufReader<UnixStream>,
    engine: &mut UnixStream,
    changes: &[Change],
) -> io::Result<()> {
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if requests.by_ref().take(HEAD_BYTES_MAX).read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        let header = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(':'));
            lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
        };
        let length: Option<u64> = header("content-length").map(|length| length.parse().unwrap());
        let creates = head.starts_with("POST ") && head.contains("/containers/create");
        if creates {
            let mut body = vec![0; length.expect("a request to create is of a known length") as usize];
            requests.read_exact(&mut body)?;
            let mut body: Value = serde_json::from_slice(&body).unwrap();
            if body.pointer(OF_A_SANDBOX).is_some() {
                changes.iter().for_each(|change| change.make(&mut body));
            }
            let body = body.to_string();
            let kept = head.lines().filter(|line| !line.to_lowercase().starts_with("content-length:"));
            let head: String =
                kept.filter(|line| !line.is_empty()).map(|line| format!("{line}\r\n")).collect();
            write!(engine, "{head}content-length: {}\r\n\r\n{body}", body.len())?;
            continue;
        }
        engine.write_all(head.as_bytes())?;
        if header("upgrade").is_some() || header("transfer-encoding").is_some() {
            // The rest of the connection is passed on unchanged.
            io::copy(requests, engine)?;
            return Ok(());
        }
        io::copy(&mut requests.by_ref().take(length.unwrap_or(0)), engine)?;
    }
}
