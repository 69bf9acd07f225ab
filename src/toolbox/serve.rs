//! The connection to the host: each stream is one call. Ends when the host does, and everything in
//! the sandbox with it.

use std::io;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::io::{StreamReader, SyncIoBridge};

use crate::frames::{Frame, FrameError, read_frame, read_message, write_data, write_frame, write_message};
use crate::init::Settled;
use crate::mux::{Mode, Stream, drive, opener};
use crate::protocol::{Answer, Collect, Hello, PROTOCOL_VERSION, Request};
use crate::reaper::Reaper;
use crate::tree::{Tree, WORKSPACE};
use crate::watch::Watch;
use crate::{collect, edit, files, list, proxy, run, search, unpack};

/// Calls on files at one time.
const THREADS_MAX: usize = 8;
/// Answers with files' contents that are made or written at one time: each may be of 20 MiB.
const COLLECTIONS_MAX: usize = 2;
/// Data frames on their way from the pipe to the disk.
const UNPACK_FRAMES_MAX: usize = 16;

/// Serves until the pipe closes.
pub fn serve(settled: Settled) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(THREADS_MAX)
        .build()
        .map_err(|e| format!("the runtime cannot be started: {e}"))?;
    let served = runtime.block_on(serve_pipe(settled)).map_err(|e| format!("the pipe to the host: {e}"));
    // A thread that waits for a disk is no reason to wait: we are about to be gone.
    runtime.shutdown_background();
    served
}

struct Toolbox {
    tree: Tree,
    reaper: Reaper,
    watch: Watch,
    collections: Semaphore,
}

async fn serve_pipe(settled: Settled) -> io::Result<()> {
    let from_host = pipe::Receiver::from_file_unchecked(settled.from_host.into())?;
    let to_host = pipe::Sender::from_file_unchecked(settled.to_host.into())?;
    let toolbox = Arc::new(Toolbox {
        tree: Tree::open(Path::new(WORKSPACE))?,
        reaper: Reaper::default(),
        watch: Watch::new(settled.processes_max),
        collections: Semaphore::new(COLLECTIONS_MAX),
    });
    let reaping = Arc::clone(&toolbox);
    tokio::spawn(async move { reaping.reaper.reap().await });
    let (opener, openings) = opener();
    if let Some(port) = settled.proxy_port {
        tokio::spawn(proxy::lend(proxy::listen(port).await?, opener.clone()));
    }
    let calls = drive(tokio::io::join(from_host, to_host), Mode::Server, openings, |stream| {
        let toolbox = Arc::clone(&toolbox);
        tokio::spawn(async move {
            // A call whose stream breaks has nobody left to tell.
            let _ = answer(toolbox, stream).await;
        });
    });
    let outcome = calls.await.map_err(io::Error::other);
    // As long as there is an opener, the connection is not over.
    drop(opener);
    outcome
}

async fn answer(toolbox: Arc<Toolbox>, mut stream: Stream) -> io::Result<()> {
    let request: Request = match read_message(&mut stream).await {
        Ok(request) => request,
        Err(FrameError::Ended) => return Err(io::ErrorKind::UnexpectedEof.into()),
        Err(FrameError::Malformed(why)) => {
            write_message(&mut stream, &Answer::<()>::Refused(format!("the request is {why}"))).await?;
            return stream.shutdown().await;
        }
    };
    match request {
        Request::Hello(_) => {
            let hello = Hello { protocol: PROTOCOL_VERSION, watched: toolbox.watch.watched() };
            write_message(&mut stream, &Answer::Done(hello)).await?;
        }
        Request::ReadFile(r) => reply(&mut stream, toolbox, move |t| files::read(t, &r)).await?,
        Request::ListFiles(r) => reply(&mut stream, toolbox, move |t| list::list(t, &r)).await?,
        Request::Search(r) => reply(&mut stream, toolbox, move |t| search::search(t, &r)).await?,
        Request::EditFile(r) => reply(&mut stream, toolbox, move |t| edit::edit(t, &r)).await?,
        Request::WriteFile(r) => reply(&mut stream, toolbox, move |t| files::write(t, &r)).await?,
        Request::Run(r) => run::run(&mut stream, &r, &toolbox.reaper, &toolbox.watch).await?,
        Request::Unpack => unpack_stream(toolbox, &mut stream).await?,
        Request::Collect(r) => collect_to(&mut stream, toolbox, r).await?,
    }
    stream.shutdown().await
}

/// Answers one of a few at a time, and nobody who has left while waiting for it.
async fn collect_to(stream: &mut Stream, toolbox: Arc<Toolbox>, request: Collect) -> io::Result<()> {
    let ours = Arc::clone(&toolbox);
    let mut word = [0; 1];
    let permit = tokio::select! {
        permit = ours.collections.acquire() => permit.map_err(io::Error::other)?,
        // The peer says nothing more: what can be read is its end.
        _ = stream.read(&mut word) => return Err(io::ErrorKind::ConnectionReset.into()),
    };
    match on_thread(toolbox, move |tree| collect::collect(tree, &request)).await {
        Ok((collected, content)) => {
            write_message(stream, &Answer::Done(collected)).await?;
            write_data(stream, &content).await?;
            write_frame(stream, &Frame::End).await?;
        }
        Err(why) => write_message(stream, &Answer::<()>::Refused(why)).await?,
    }
    drop(permit);
    Ok(())
}

async fn reply<T: Serialize + Send + 'static>(
    stream: &mut Stream,
    toolbox: Arc<Toolbox>,
    work: impl FnOnce(&Tree) -> Result<T, String> + Send + 'static,
) -> io::Result<()> {
    let answer = match on_thread(toolbox, work).await {
        Ok(done) => Answer::Done(done),
        Err(why) => Answer::Refused(why),
    };
    match write_message(stream, &answer).await {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            write_message(stream, &Answer::<()>::Refused(format!("the answer is too large: {error}"))).await
        }
        written => written,
    }
}

async fn on_thread<T: Send + 'static>(
    toolbox: Arc<Toolbox>,
    work: impl FnOnce(&Tree) -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let done = tokio::task::spawn_blocking(move || work(&toolbox.tree)).await;
    done.unwrap_or_else(|broken| Err(format!("the toolbox failed: {broken}")))
}

/// Data frames go to a thread that unpacks them; the first error ends it.
async fn unpack_stream(toolbox: Arc<Toolbox>, stream: &mut Stream) -> io::Result<()> {
    let (sender, receiver) = mpsc::channel::<io::Result<io::Cursor<Vec<u8>>>>(UNPACK_FRAMES_MAX);
    let chunks = futures_util::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|chunk| (chunk, receiver))
    });
    let mut reader = SyncIoBridge::new(StreamReader::new(Box::pin(chunks)));
    let unpacking = tokio::spawn(on_thread(toolbox, move |tree| {
        let unpacked = unpack::unpack(tree, &mut reader)?;
        // A tar stream ends with padding that nobody needs, but which is still on its way.
        io::copy(&mut reader, &mut io::sink()).map_err(|e| format!("the end of the tar stream: {e}"))?;
        Ok(unpacked)
    }));
    loop {
        match read_frame(stream).await {
            // Once the thread has given up, what still comes is let go until the end.
            Ok(Frame::Data(bytes)) => drop(sender.send(Ok(io::Cursor::new(bytes))).await),
            Ok(Frame::End) => break,
            Ok(Frame::Message(_) | Frame::ErrorData(_)) | Err(FrameError::Malformed(_)) => {
                return Err(io::ErrorKind::InvalidData.into());
            }
            Err(FrameError::Ended) => {
                // Not an end: a tree of which a part is missing must not pass for the whole.
                drop(sender.send(Err(io::ErrorKind::UnexpectedEof.into())).await);
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
    drop(sender);
    let answer = match unpacking.await {
        Ok(Ok(unpacked)) => Answer::Done(unpacked),
        Ok(Err(why)) => Answer::Refused(why),
        Err(broken) => Answer::Refused(format!("the toolbox failed: {broken}")),
    };
    write_message(stream, &answer).await
}
