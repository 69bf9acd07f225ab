//! Stands in the place of `bwrap` and of the toolbox inside it, and lies to the host over the pipe:
//! what a container would do whose inside has taken the toolbox over. Reads from the file `lie` in
//! its own directory which lie is wanted. Speaks yamux (its specification, version 0) by hand.

use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

const DATA: u8 = 0;
const WINDOW: u8 = 1;
const PING: u8 = 2;
const GO_AWAY: u8 = 3;
const SYN: u16 = 1;
const ACK: u16 = 2;
const FIN: u16 = 4;
const RST: u16 = 8;

/// Takes the part of `bwrap` where it is asked to start a sandbox, and of one that knows nothing
/// where it is asked for its version.
pub fn stand_in_for_bwrap(own_path: &str, words: &[String]) -> ExitCode {
    let Some(at) = words.iter().position(|word| word == "--info-fd") else { return ExitCode::SUCCESS };
    let report = format!("/proc/self/fd/{}", words[at + 1]);
    let us = format!("{{\"child-pid\": {}}}", std::process::id());
    std::fs::write(report, us).expect("the report's descriptor");
    let lie = std::fs::read_to_string(Path::new(own_path).with_file_name("lie")).expect("the lie to tell");
    // The host closes the connection to a lying toolbox.
    let _ = Peer { input: io::stdin(), output: io::stdout(), lie: lie.trim().to_owned() }.speak();
    ExitCode::SUCCESS
}

struct Peer {
    input: io::Stdin,
    output: io::Stdout,
    lie: String,
}

/// A request, and the stream it came on.
struct Asked {
    stream: u32,
    text: String,
}

impl Peer {
    fn speak(&mut self) -> io::Result<()> {
        let hello = self.asked()?;
        match self.lie.as_str() {
            "another-version" => return self.answer(&hello, br#"{"done":{"protocol":4000000000}}"#),
            "no-json" => return self.answer(&hello, b"{{{{"),
            "nested-json" => {
                let nested = [&br#"{"done":"#[..], &b"[".repeat(100_000)].concat();
                return self.answer(&hello, &nested);
            }
            "silence" => return self.wait(),
            _ => {}
        }
        let version = hello.text.chars().filter(char::is_ascii_digit).collect::<String>();
        self.answer(&hello, format!(r#"{{"done":{{"protocol":{version}}}}}"#).as_bytes())?;
        let asked = self.asked()?;
        let lie = self.lie.clone();
        match lie.as_str() {
            // Frames.
            "huge-length" => self.data(asked.stream, &[b'm', 0xff, 0xff, 0xff, 0xff])?,
            "huge-data-length" => self.data(asked.stream, &[b'd', 0, 1, 0, 1])?,
            "unknown-frame" => self.data(asked.stream, &[b'?', 0, 0, 0, 1, 0])?,
            "data-for-a-message" => self.data(asked.stream, &[b'd', 0, 0, 0, 1, 0])?,
            "end-with-a-body" => self.data(asked.stream, &[b'.', 0, 0, 0, 9])?,
            "cut-frame" => {
                self.data(asked.stream, &[b'm', 0, 0, 0, 9, b'{'])?;
                self.frame(DATA, FIN, asked.stream, 0, &[])?;
            }
            "slow-loris" => {
                self.data(asked.stream, &[b'm', 0, 0, 4, 0])?;
                loop {
                    self.data(asked.stream, b" ")?;
                    std::thread::sleep(Duration::from_millis(100));
                }
            }
            // Reads nothing.
            "deaf" => std::thread::sleep(Duration::from_secs(3600)),
            // The multiplexer.
            "no-multiplexer" => self.output.write_all(&[0xff; 4096])?,
            "huge-multiplexer-length" => self.frame(DATA, 0, asked.stream, u32::MAX, b"x")?,
            "beyond-the-window" => loop {
                self.data(asked.stream, &[b'x'; 60_000])?;
            },
            "unknown-stream" => {
                self.frame(DATA, 0, 9_999, 4, b"what")?;
                self.answer(&asked, br#"{"refused":"honest again"}"#)?;
            }
            "stream-of-the-hosts-own-number" => self.frame(WINDOW, SYN, 4_001, 0, &[])?,
            "replayed-stream" => {
                self.answer(&hello, br#"{"done":{"protocol":7}}"#)?;
                self.answer(&asked, br#"{"refused":"honest again"}"#)?;
            }
            "reset" => self.frame(DATA, RST, asked.stream, 0, &[])?,
            "go-away" => self.frame(GO_AWAY, 0, 0, 0, &[])?,
            "opens-a-stream" => self.frame(WINDOW, SYN, 2, 0, &[])?,
            "opens-a-thousand-streams" => {
                for number in 1..=1_000 {
                    self.frame(WINDOW, SYN, number * 2, 0, &[])?;
                }
            }
            "flood-of-pings" => {
                let pings: Vec<u8> = (0..5_000u32).flat_map(|n| header(PING, SYN, 0, n)).collect();
                for _ in 0..1_000 {
                    self.output.write_all(&pings)?;
                }
            }
            "flood-of-words" => {
                for _ in 0..1_000 {
                    io::stderr().write_all(&[b'w'; 60_000])?;
                }
                self.answer(&asked, br#"{"refused":"honest again"}"#)?;
            }
            // The change report.
            "more-files" => self.answer(&asked, br#"{"done":{"files":["absent","absent","absent"]}}"#)?,
            "fewer-files" => self.answer(&asked, br#"{"done":{"files":[]}}"#)?,
            "huge-file" => self.collected(&asked, &format!("{}", u64::MAX), b"")?,
            "two-huge-files" => {
                let half = u64::MAX / 2 + 1;
                let file = format!(r#"{{"file":{{"executable":false,"bytes":{half}}}}}"#);
                let answer = format!(r#"{{"done":{{"files":[{file},{file}]}}}}"#);
                self.answer(&asked, answer.as_bytes())?;
            }
            "more-bytes" => self.collected(&asked, "5", b"d\0\0\0\x0a0123456789.\0\0\0\0")?,
            "more-bytes-in-another-frame" => {
                self.collected(&asked, "5", b"d\0\0\0\x0501234d\0\0\0\x0556789.\0\0\0\0")?;
            }
            "fewer-bytes" => self.collected(&asked, "5", b"d\0\0\0\x02ab.\0\0\0\0")?,
            "empty-bytes-for-ever" => {
                self.collected(&asked, "5", b"")?;
                loop {
                    self.data(asked.stream, b"d\0\0\0\0")?;
                }
            }
            "another-path" => {
                let file = br#"{"file":{"executable":true,"bytes":3,"path":"../../../../etc/cron.d/x"}}"#;
                let answer = [&br#"{"done":{"path":"/etc","files":["#[..], file, b"]}}"].concat();
                self.answer(&asked, &answer)?;
                self.data(asked.stream, b"d\0\0\0\x03abc.\0\0\0\0")?;
            }
            "negative-bytes" => self.collected(&asked, "-1", b"")?,
            // The end of a command.
            "endless-output" => loop {
                self.data(asked.stream, &[&[b'd', 0, 0, 0x10, 0][..], &[b'x'; 0x1000]].concat())?;
            },
            "huge-tail" => {
                self.answer(&asked, ended(0, u64::MAX).as_bytes())?;
            }
            "tail-longer-than-told" => {
                self.answer(&asked, ended(1, 4).as_bytes())?;
                self.data(asked.stream, b"d\0\0\0\x0801234567")?;
            }
            "torn-and-uncountable" => {
                self.data(asked.stream, b"d\0\0\0\x02\xf0\x9f")?;
                self.answer(&asked, ended(u64::MAX, 0).as_bytes())?;
            }
            "end-without-a-result" => self.data(asked.stream, b".\0\0\0\0")?,
            "another-answer" => self.answer(&asked, br#"{"done":{"entries":1}}"#)?,
            unknown => panic!("'{unknown}' is no lie"),
        }
        self.wait()
    }

    fn wait(&mut self) -> io::Result<()> {
        io::copy(&mut self.input, &mut io::sink()).map(drop)
    }

    /// The next whole message on a new stream.
    fn asked(&mut self) -> io::Result<Asked> {
        let mut message = Vec::new();
        loop {
            let (stream, bytes) = self.read_frame()?;
            message.extend(bytes);
            if message.len() >= 5 {
                let length = u32::from_be_bytes([message[1], message[2], message[3], message[4]]) as usize;
                if message.len() >= 5 + length {
                    let text = String::from_utf8_lossy(&message[5..5 + length]).into_owned();
                    return Ok(Asked { stream, text });
                }
            }
        }
    }

    fn read_frame(&mut self) -> io::Result<(u32, Vec<u8>)> {
        let mut head = [0; 12];
        self.input.read_exact(&mut head)?;
        let [_, kind, flag_high, flag_low, s0, s1, s2, s3, l0, l1, l2, l3] = head;
        let length = u32::from_be_bytes([l0, l1, l2, l3]);
        let mut bytes = Vec::new();
        if kind == DATA {
            bytes.resize(length as usize, 0);
            self.input.read_exact(&mut bytes)?;
        }
        if kind == PING && u16::from_be_bytes([flag_high, flag_low]) == SYN {
            self.output.write_all(&header(PING, ACK, 0, length))?;
            self.output.flush()?;
        }
        Ok((u32::from_be_bytes([s0, s1, s2, s3]), bytes))
    }

    fn collected(&mut self, asked: &Asked, bytes: &str, frames: &[u8]) -> io::Result<()> {
        let file = format!(r#"{{"file":{{"executable":false,"bytes":{bytes}}}}}"#);
        self.answer(asked, format!(r#"{{"done":{{"files":[{file}]}}}}"#).as_bytes())?;
        if frames.is_empty() { Ok(()) } else { self.data(asked.stream, frames) }
    }

    fn answer(&mut self, asked: &Asked, json: &[u8]) -> io::Result<()> {
        let length = (json.len() as u32).to_be_bytes();
        self.data(asked.stream, &[&[b'm'][..], &length, json].concat())
    }

    fn data(&mut self, stream: u32, bytes: &[u8]) -> io::Result<()> {
        self.frame(DATA, ACK, stream, bytes.len() as u32, bytes)
    }

    fn frame(&mut self, kind: u8, flags: u16, stream: u32, length: u32, bytes: &[u8]) -> io::Result<()> {
        self.output.write_all(&[&header(kind, flags, stream, length)[..], bytes].concat())?;
        self.output.flush()
    }
}

fn header(kind: u8, flags: u16, stream: u32, length: u32) -> [u8; 12] {
    let ([f0, f1], [s0, s1, s2, s3]) = (flags.to_be_bytes(), stream.to_be_bytes());
    let [l0, l1, l2, l3] = length.to_be_bytes();
    [0, kind, f0, f1, s0, s1, s2, s3, l0, l1, l2, l3]
}

fn ended(omitted_bytes: u64, tail_bytes: u64) -> String {
    const END: &str = r#""end":{"exited":{"code":0}},"hit":{"memory":false,"disk":null,"processes":false}"#;
    format!(r#"{{"done":{{{END},"omitted_bytes":{omitted_bytes},"tail_bytes":{tail_bytes}}}}}"#)
}
