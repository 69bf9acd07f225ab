//! Calls over the pipe to one sandbox: opens their streams, limits how long they may take, and decides
//! what a broken one means. Nothing that comes over the pipe is trusted: a peer that breaks the
//! protocol is killed, and every later call fails.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use mendwright_protocol::frames::{self, DATA_BYTES_MAX, Frame, FrameError};
use mendwright_protocol::mux::{Mode, Opener, Stream, drive, opener};
use mendwright_protocol::{EXIT_DISK_FULL, Request, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::{Instrument, Span};
use yamux::{ConnectionError, FrameDecodeError};

use super::error::{CallError, SandboxError};
use super::first_bytes::{FirstBytes, LimitedPipe};
use super::spec::ContainerHandle;

/// For the response to a call on files. A command has its own deadline.
pub(super) const CALL_MAX: Duration = Duration::from_secs(120);
/// For the sandbox to accept one piece of a tar stream, and to write the last of it to its disk.
pub(super) const UNPACK_STEP_MAX: Duration = Duration::from_secs(120);
/// For the container to end after its connection has broken, so that its exit reason is known.
const EXIT_REASON_MAX: Duration = Duration::from_millis(500);

/// The connection to one sandbox.
pub(super) struct RpcClient {
    opener: Opener,
    driver: JoinHandle<()>,
    violation: Arc<OnceLock<String>>,
    first: Arc<FirstBytes>,
    span: Span,
    pub(super) container: Arc<dyn ContainerHandle>,
}

impl RpcClient {
    /// Starts to move streams over `pipe`. Streams that the sandbox opens are passed to `incoming`.
    /// Everything happens in the current span.
    pub(super) fn open(
        pipe: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        container: Arc<dyn ContainerHandle>,
        incoming: impl FnMut(Stream) -> Result<(), String> + Send + 'static,
    ) -> Self {
        let (opener, openings) = opener();
        let violation = Arc::new(OnceLock::new());
        let (first_violation, container_to_kill) = (Arc::clone(&violation), Arc::clone(&container));
        let mut incoming = incoming;
        let first = Arc::new(FirstBytes::default());
        let first_bytes = Arc::clone(&first);
        let pipe = LimitedPipe { pipe, first: Arc::clone(&first) };
        let driving = async move {
            let report = |why: String| {
                // Only the first violation counts.
                let _ = first_violation.set(why);
                container_to_kill.kill();
            };
            let driven = drive(pipe, Mode::Client, openings, |stream| {
                if let Err(why) = incoming(stream) {
                    report(why);
                }
            });
            let driven = driven.await;
            if let Some(why) = first_bytes.violation() {
                report(why);
            }
            match driven {
                // A pipe that ends in the middle of a frame was cut, for example because its writer
                // ended. That is not a violation.
                Ok(())
                | Err(
                    ConnectionError::Io(_)
                    | ConnectionError::Closed
                    | ConnectionError::Decode(FrameDecodeError::Io(_)),
                ) => {}
                Err(error) => report(error.to_string()),
            }
        };
        let span = Span::current();
        let driver = tokio::spawn(driving.instrument(span.clone()));
        Self { opener, driver, violation, first, span, container }
    }

    /// Notes that the first call was answered: until then, little may come.
    pub(super) fn first_call_answered(&self) {
        self.first.end();
    }

    /// A call whose request and response are one message each.
    pub(super) async fn call<A: DeserializeOwned>(&self, request: &Request) -> Result<A, CallError> {
        let exchange = async {
            let mut stream = self.start(request).await?;
            self.read_response(&mut stream).await
        };
        self.within(CALL_MAX, exchange).await
    }

    /// Opens a stream and sends the request on it.
    pub(super) async fn start(&self, request: &Request) -> Result<Stream, CallError> {
        let Some(mut stream) = self.opener.open().await else { return Err(self.lost().await.into()) };
        self.send(&mut stream, request).await?;
        Ok(stream)
    }

    async fn send(&self, stream: &mut Stream, message: &impl Serialize) -> Result<(), CallError> {
        match frames::write_message(stream, message).await {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => {
                Err(CallError::RespondToModel(format!("the request is too large: {error}")))
            }
            Err(_) => Err(self.lost().await.into()),
        }
    }

    /// Sends everything that `reader` has as data frames, and an end frame.
    pub(super) async fn send_all(
        &self,
        stream: &mut Stream,
        reader: &mut (impl AsyncRead + Unpin),
    ) -> Result<(), CallError> {
        let mut chunk = vec![0; DATA_BYTES_MAX];
        loop {
            let read = reader.read(&mut chunk).await;
            let read =
                read.map_err(|e| CallError::RespondToModel(format!("the tar stream broke off: {e}")))?;
            let sent = async {
                match read {
                    0 => frames::write_frame(stream, &Frame::End).await,
                    _ => frames::write_data(stream, &chunk[..read]).await,
                }
            };
            match timeout(UNPACK_STEP_MAX, sent).await {
                Ok(Ok(())) if read == 0 => return Ok(()),
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(self.lost().await.into()),
                Err(_) => {
                    return Err(SandboxError::Gone("it stopped accepting the tar stream".to_owned()).into());
                }
            }
        }
    }

    /// Reads the response.
    pub(super) async fn read_response<A: DeserializeOwned>(
        &self,
        stream: &mut Stream,
    ) -> Result<A, CallError> {
        match frames::read_message(stream).await {
            Ok(response) => into_result(response),
            Err(error) => Err(self.broken(error).await.into()),
        }
    }

    /// Parses a response that was read as a frame.
    pub(super) fn parse_response<A: DeserializeOwned>(&self, json: &[u8]) -> Result<A, CallError> {
        match serde_json::from_slice(json) {
            Ok(response) => into_result(response),
            Err(error) => Err(self.violated(format!("an invalid message: {error}")).into()),
        }
    }

    /// Reads a frame.
    pub(super) async fn read_frame(&self, stream: &mut Stream) -> Result<Frame, SandboxError> {
        match frames::read_frame(stream).await {
            Ok(frame) => Ok(frame),
            Err(error) => Err(self.broken(error).await),
        }
    }

    /// Limits how long a call may take. If it takes longer, its sandbox is killed.
    pub(super) async fn within<T>(
        &self,
        time_max: Duration,
        call: impl Future<Output = Result<T, CallError>>,
    ) -> Result<T, CallError> {
        let limited = async {
            let Ok(outcome) = timeout(time_max, call).await else {
                self.container.kill();
                let why = format!("it did not respond within {} s and was killed", time_max.as_secs());
                tracing::warn!(seconds = time_max.as_secs(), "killed an unresponsive sandbox");
                return Err(SandboxError::Gone(why).into());
            };
            outcome
        };
        limited.instrument(self.span.clone()).await
    }

    async fn broken(&self, error: FrameError) -> SandboxError {
        match error {
            FrameError::Ended => self.lost().await,
            FrameError::Malformed(what) => self.violated(what),
        }
    }

    /// Kills a peer that broke the protocol.
    pub(super) fn violated(&self, what: impl Into<String>) -> SandboxError {
        let what = self.violation.get_or_init(|| what.into()).clone();
        self.container.kill();
        SandboxError::Protocol(what)
    }

    /// Why a stream could not be opened or broke off. A peer that resets a single stream gets no other
    /// one.
    pub(super) async fn lost(&self) -> SandboxError {
        if timeout(EXIT_REASON_MAX, self.container.ended()).await.is_err() {
            self.container.kill();
        }
        match (self.violation.get(), self.container.exit_code()) {
            (Some(what), _) => SandboxError::Protocol(what.clone()),
            (None, Some(code)) if code == i64::from(EXIT_DISK_FULL) => {
                SandboxError::DiskFull(self.container.exit_reason())
            }
            (None, _) => SandboxError::Gone(self.container.exit_reason()),
        }
    }
}

fn into_result<A>(response: Response<A>) -> Result<A, CallError> {
    match response {
        Response::Done(done) => Ok(done),
        Response::Refused(why) => Err(CallError::RespondToModel(why)),
        Response::DiskFull(why) => Err(SandboxError::DiskFull(why).into()),
    }
}

impl Drop for RpcClient {
    fn drop(&mut self) {
        self.container.kill();
        self.driver.abort();
    }
}
