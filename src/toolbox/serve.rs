//! The connection to the host: each stream is one call. When the host ends, the toolbox ends, and everything in
//! the sandbox with it.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::sync::Semaphore;

use crate::failure::Failure;
use crate::fingerprints::Fingerprints;
use crate::init::Initialized;
use crate::limit_watch::LimitWatch;
use crate::mapper::Mapper;
use crate::reaper::Reaper;
use crate::snapshot::{Roots, TrackedPaths, build, pack, receive, seal};
use crate::tree::{Tree, WORKSPACE};
use crate::{collect, edit, files, list, proxy, reports, run, search, transfer, unpack};
use mendwright_protocol::frames::{Frame, FrameError, read_message, write_data, write_frame, write_message};
use mendwright_protocol::mux::{Mode, Stream, drive, opener};
use mendwright_protocol::{
    EditFile, EditResult, Hello, PROTOCOL_VERSION, Request, Response, WriteFile, WriteResult,
};

/// Concurrent calls on files.
const THREADS_MAX: usize = 8;
/// Concurrent answers with the contents of files: each may have 20 MiB.
const COLLECTIONS_MAX: usize = 2;

/// Serves until the pipe closes.
pub fn serve(initialized: Initialized) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(THREADS_MAX)
        .build()
        .map_err(|e| format!("the runtime cannot be started: {e}"))?;
    let served = runtime.block_on(serve_pipe(initialized)).map_err(|e| format!("the pipe to the host: {e}"));
    // The process is about to end: do not wait for a thread that waits for a disk.
    runtime.shutdown_background();
    served
}

struct Toolbox {
    tree: Tree,
    reaper: Reaper,
    /// The paths that were unpacked so far.
    tracked: Mutex<TrackedPaths>,
    /// What it held.
    fingerprints: Mutex<Fingerprints>,
    roots: Roots,
    watch: LimitWatch,
    mapper: Mapper,
    collections: Semaphore,
}

impl Toolbox {
    fn tracked(&self) -> MutexGuard<'_, TrackedPaths> {
        self.tracked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fingerprints(&self) -> MutexGuard<'_, Fingerprints> {
        self.fingerprints.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn serve_pipe(initialized: Initialized) -> io::Result<()> {
    let from_host = pipe::Receiver::from_file_unchecked(initialized.from_host.into())?;
    let to_host = pipe::Sender::from_file_unchecked(initialized.to_host.into())?;
    let toolbox = Arc::new(Toolbox {
        tree: Tree::open(Path::new(WORKSPACE))?,
        reaper: Reaper::default(),
        tracked: Mutex::default(),
        fingerprints: Mutex::default(),
        roots: Roots::of_this_sandbox().map_err(io::Error::other)?,
        watch: LimitWatch::new(initialized.processes_max),
        mapper: Mapper::default(),
        collections: Semaphore::new(COLLECTIONS_MAX),
    });
    let reaping = Arc::clone(&toolbox);
    tokio::spawn(async move { reaping.reaper.reap().await });
    let (opener, openings) = opener();
    if let Some(port) = initialized.proxy_port {
        tokio::spawn(proxy::lend(proxy::listen(port).await?, opener.clone()));
    }
    let calls = drive(tokio::io::join(from_host, to_host), Mode::Server, openings, |stream| {
        let toolbox = Arc::clone(&toolbox);
        tokio::spawn(async move {
            // If the stream of a call breaks, nobody reads an error.
            let _ = answer(toolbox, stream).await;
        });
    });
    let outcome = calls.await.map_err(io::Error::other);
    // The connection ends only when no opener is left.
    drop(opener);
    outcome
}

async fn answer(toolbox: Arc<Toolbox>, mut stream: Stream) -> io::Result<()> {
    let request: Request = match read_message(&mut stream).await {
        Ok(request) => request,
        Err(FrameError::Ended) => return Err(io::ErrorKind::UnexpectedEof.into()),
        Err(FrameError::Malformed(why)) => {
            write_message(&mut stream, &Response::<()>::Refused(format!("the request is {why}"))).await?;
            return stream.shutdown().await;
        }
    };
    match request {
        Request::Hello(_) => {
            let hello = Hello { protocol: PROTOCOL_VERSION, watched: toolbox.watch.detection() };
            write_message(&mut stream, &Response::Done(hello)).await?;
        }
        Request::ReadFile(r) => reply(&mut stream, toolbox, move |t| files::read(&t.tree, &r)).await?,
        Request::ListFiles(r) => reply(&mut stream, toolbox, move |t| list::list(&t.tree, &r)).await?,
        Request::Search(r) => reply(&mut stream, toolbox, move |t| search::search(&t.tree, &r)).await?,
        Request::DeleteFile(r) => reply(&mut stream, toolbox, move |t| files::delete(&t.tree, &r)).await?,
        Request::MoveFile(r) => reply(&mut stream, toolbox, move |t| files::move_to(&t.tree, &r)).await?,
        Request::RepoMap(r) => {
            let mapped = toolbox.mapper.map(&toolbox.reaper, r).await;
            send(&mut stream, &response_of(mapped)).await?;
        }
        Request::FindSymbol(r) => {
            let found = toolbox.mapper.find(&toolbox.reaper, r).await;
            send(&mut stream, &response_of(found)).await?;
        }
        Request::EditFile(r) => {
            let edited = edit_and_check(toolbox, r).await;
            send(&mut stream, &response_of(edited)).await?;
        }
        Request::WriteFile(r) => {
            let written = write_and_check(toolbox, r).await;
            send(&mut stream, &response_of(written)).await?;
        }
        Request::Run(r) => run::run(&mut stream, &r, &toolbox.reaper, &toolbox.watch).await?,
        Request::Unpack => {
            let unpacked = transfer::receive(&mut stream, move |reader| {
                unpack::unpack(&toolbox.tree, reader, &mut toolbox.tracked(), &mut toolbox.fingerprints())
            });
            let answer = unpacked.await?.map_or_else(Failure::into_response, Response::Done);
            write_message(&mut stream, &answer).await?;
        }
        Request::TrackedChanges(r) => {
            reply(&mut stream, toolbox, move |t| Ok(t.fingerprints().changes(&t.tree, &r))).await?;
        }
        Request::TestItems(r) => {
            let moved = toolbox.mapper.move_test_items(&toolbox.reaper, r).await;
            send(&mut stream, &response_of(moved)).await?;
        }
        Request::Mutants(r) => {
            let mutants = toolbox.mapper.mutants(&toolbox.reaper, r).await;
            send(&mut stream, &response_of(mutants)).await?;
        }
        Request::Seal => {
            let sealing = move |toolbox: &Toolbox| seal::seal(&toolbox.roots, &toolbox.tracked());
            reply(&mut stream, toolbox, sealing).await?;
        }
        Request::Pack(r) => {
            let packed = transfer::send(&mut stream, move |writer| {
                pack::pack(&toolbox.roots, &toolbox.tracked(), writer, r.bytes_max)
            });
            let answer = response_of(packed.await?);
            write_message(&mut stream, &answer).await?;
        }
        Request::UnpackPrepared(r) => {
            let received = transfer::receive(&mut stream, move |reader| {
                receive::receive(&toolbox.roots.snapshot, reader, &r)
            });
            let answer = response_of(received.await?);
            write_message(&mut stream, &answer).await?;
        }
        Request::PackBuild(r) => {
            let packed = transfer::send(&mut stream, move |writer| {
                build::pack_build(&toolbox.roots, &toolbox.tracked(), writer, &r)
            });
            let answer = response_of(packed.await?);
            write_message(&mut stream, &answer).await?;
        }
        Request::UnpackBuild(r) => {
            let received = transfer::receive(&mut stream, move |reader| {
                build::receive_build(&toolbox.roots.workspace, reader, &r)
            });
            let answer = response_of(received.await?);
            write_message(&mut stream, &answer).await?;
        }
        Request::Collect(r) => {
            reply_with_content(&mut stream, toolbox, move |t| collect::collect(&t.tree, &r)).await?;
        }
        Request::Reports(r) => {
            reply_with_content(&mut stream, toolbox, move |t| reports::reports(&t.tree, &r)).await?;
        }
    }
    stream.shutdown().await
}

fn response_of<T>(outcome: Result<T, String>) -> Response<T> {
    outcome.map_or_else(Response::Refused, Response::Done)
}

/// Answers with content: a few such answers at a time, and none to a peer that left while it waited.
async fn reply_with_content<T: Serialize + Send + 'static>(
    stream: &mut Stream,
    toolbox: Arc<Toolbox>,
    work: impl FnOnce(&Toolbox) -> Result<(T, Vec<u8>), String> + Send + 'static,
) -> io::Result<()> {
    let ours = Arc::clone(&toolbox);
    let mut word = [0; 1];
    let permit = tokio::select! {
        permit = ours.collections.acquire() => permit.map_err(io::Error::other)?,
        // The peer sends nothing more: only the end of its stream can be read.
        _ = stream.read(&mut word) => return Err(io::ErrorKind::ConnectionReset.into()),
    };
    match on_thread(toolbox, work).await {
        Ok((described, content)) => {
            write_message(stream, &Response::Done(described)).await?;
            write_data(stream, &content).await?;
            write_frame(stream, &Frame::End).await?;
        }
        Err(why) => write_message(stream, &Response::<()>::Refused(why)).await?,
    }
    drop(permit);
    Ok(())
}

async fn reply<T: Serialize + Send + 'static>(
    stream: &mut Stream,
    toolbox: Arc<Toolbox>,
    work: impl FnOnce(&Toolbox) -> Result<T, String> + Send + 'static,
) -> io::Result<()> {
    send(stream, &response_of(on_thread(toolbox, work).await)).await
}

async fn send<T: Serialize>(stream: &mut Stream, answer: &Response<T>) -> io::Result<()> {
    match write_message(stream, answer).await {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            write_message(stream, &Response::<()>::Refused(format!("the answer is too large: {error}"))).await
        }
        written => written,
    }
}

async fn edit_and_check(toolbox: Arc<Toolbox>, request: EditFile) -> Result<EditResult, String> {
    let path = request.path.clone();
    let done = on_thread(Arc::clone(&toolbox), move |t| edit::edit(&t.tree, &request)).await?;
    let faults = toolbox.mapper.check(&toolbox.reaper, &path, &done.before, &done.after).await;
    Ok(EditResult { excerpt: done.excerpt, faults })
}

async fn write_and_check(toolbox: Arc<Toolbox>, request: WriteFile) -> Result<WriteResult, String> {
    let (path, content) = (request.path.clone(), request.content.clone());
    let (created, before) = on_thread(Arc::clone(&toolbox), move |t| files::write(&t.tree, &request)).await?;
    let faults = toolbox.mapper.check(&toolbox.reaper, &path, &before, content.as_bytes()).await;
    Ok(WriteResult { created, bytes: content.len() as u64, faults })
}

async fn on_thread<T: Send + 'static>(
    toolbox: Arc<Toolbox>,
    work: impl FnOnce(&Toolbox) -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let done = tokio::task::spawn_blocking(move || work(&toolbox)).await;
    done.unwrap_or_else(|broken| Err(format!("the toolbox failed: {broken}")))
}
