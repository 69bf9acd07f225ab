//! The program that attacks the sandbox from inside: one static program without libraries, so that it runs in
//! every image, and also outside of sandboxes, to show that its attacks can succeed.
//!
//! It prints the result of an attempt as a word that a pattern can match: `ok`, `opened`, `connected`, or the
//! error's name (`EPERM`). Each attempt is harmless if it succeeds: calls that would change a kernel or another
//! process have invalid arguments.
//!
//! It also plays the environment of the sandbox: the host's other processes (`canary`), a `bwrap` with changed
//! arguments, and a lying toolbox. Never part of the product.

use std::process::ExitCode;

mod bombs;
mod calls;
mod canary;
mod fake_toolbox;
mod files;
mod network;
mod posture;
mod processes;
mod proxy;
mod weakened;

/// The result of an attempt.
type Outcome = Result<String, calls::Errno>;

/// The program. It is also compiled into the tests, which never call it.
pub fn main() -> ExitCode {
    let arguments: Vec<String> =
        std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let (name, words) = arguments.split_first().expect("a program has a name");
    if name.ends_with("/bwrap") {
        return weakened::stand_in_for_bwrap(name);
    }
    if name.ends_with("/fake-toolbox") {
        return fake_toolbox::stand_in_for_bwrap(name, words);
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["syscall", call, arguments @ ..] => calls::by_name(call, arguments),
        ["number", number, arguments @ ..] => calls::by_number(number, arguments),
        ["int80"] => calls::old_architecture(),
        ["clone", flags] => calls::clone(flags),
        ["setns", file] => calls::enter(file),
        ["ioctl", path, request] => calls::ioctl(path, request),
        ["open", how, path] => files::open(how, path),
        ["read", path] => files::read(path),
        ["list", path] => files::list(path),
        ["link", path] => files::link(path),
        ["hunt", marker] => Ok(files::hunt(marker)),
        ["devices"] => Ok(files::devices()),
        ["setuid", path] => files::with_foreign_rights(path),
        ["write", path, text] => files::write(path, text),
        ["kernel-addresses"] => files::kernel_addresses(),
        ["others", what] => Ok(processes::others(what)),
        ["descriptors"] => Ok(processes::descriptors()),
        ["who"] => Ok(processes::who()),
        ["attach", pid] => processes::attach(pid),
        ["peek", pid] => processes::peek(pid),
        ["signal-all", pid] => Ok(processes::signal_all(pid)),
        ["write-pipes", pid] => Ok(processes::write_pipes(pid)),
        ["socket", family, kind, protocol] => network::socket(family, kind, protocol),
        ["socketpair", family] => network::socketpair(family),
        ["connect", place @ ..] => network::connect(place),
        ["send", place @ ..] => network::send(place),
        ["serve-own"] => network::serve_own(),
        ["interfaces"] => Ok(network::interfaces()),
        ["address", address] => network::take_address(address),
        ["route", address] => network::take_route(address),
        ["hold-abstract", name] => network::hold_abstract(name),
        ["hold-port", port] => network::hold_port(port),
        ["ipc", kind, name] => network::ipc(kind, name),
        ["leave-ipc", kind, name] => network::leave_ipc(kind, name),
        ["proxy", text] => Ok(proxy::talk(text)),
        ["proxy-slow", text] => Ok(proxy::talk_slowly(text)),
        ["proxy-many", count, text] => Ok(proxy::many(count, text)),
        ["proxy-tls", authority, name] => Ok(proxy::hello(authority, name)),
        ["proxy-no-name", authority] => Ok(proxy::hello_without_a_name(authority)),
        ["bomb", kind, place @ ..] => Ok(bombs::explode(kind, place)),
        ["posture"] => Ok(posture::report()),
        ["canary", words @ ..] => return canary::stand(words),
        unknown => {
            println!("unknown-attempt {unknown:?}");
            return ExitCode::from(64);
        }
    };
    match outcome {
        Ok(output) => println!("{output}"),
        Err(errno) => println!("{errno}"),
    }
    ExitCode::SUCCESS
}
