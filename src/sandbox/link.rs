//! Calls over the pipe to one sandbox: opens their streams, bounds their waits, and decides what a
//! broken one means. What comes over the pipe is untrusted: a peer that breaks the protocol is
//! killed, and stays lost.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use yamux::{ConnectionError, FrameDecodeError};

use super::container::Container;
use super::frames::{self, Frame, FrameError};
use super::mux::{Mode, Opener, Stream, drive, opener};
use super::protocol::{Request, Response};
use super::{CallError, SandboxError};

/// For the answer to a call on files; a command has its own deadline.
pub(super) const CALL_MAX: Duration = Duration::from_secs(120);
/// For the last words of a connection that is about to be seen broken.
const LAST_WORDS_MAX: Duration = Duration::from_millis(500);

/// The connection to one sandbox.
pub(super) struct Link {
    opener: Opener,
    driver: JoinHandle<()>,
    violation: Arc<OnceLock<String>>,
    pub(super) container: Arc<Container>,
}

impl Link {
    /// Starts to move streams over `pipe`. Those that the sandbox opens are for `incoming`.
    pub(super) fn open(
        pipe: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        container: Arc<Container>,
        incoming: impl FnMut(Stream) -> Result<(), String> + Send + 'static,
    ) -> Self {
        let (opener, openings) = opener();
        let violation = Arc::new(OnceLock::new());
        let (noted, killed) = (Arc::clone(&violation), Arc::clone(&container));
        let mut incoming = incoming;
        let driver = tokio::spawn(async move {
            let report = |why: String| {
                // Only the first one counts.
                let _ = noted.set(why);
                killed.kill();
            };
            let driven = drive(pipe, Mode::Client, openings, |stream| {
                if let Err(why) = incoming(stream) {
                    report(why);
                }
            });
            match driven.await {
                // A pipe that ends in the middle of a frame is one that was cut, as by the end of
                // whoever wrote it, and no lie.
                Ok(())
                | Err(
                    ConnectionError::Io(_)
                    | ConnectionError::Closed
                    | ConnectionError::Decode(FrameDecodeError::Io(_)),
                ) => {}
                Err(error) => report(error.to_string()),
            }
        });
        Self { opener, driver, violation, container }
    }

    /// A call whose request and answer are one message each.
    pub(super) async fn call<A: DeserializeOwned>(&self, request: &Request) -> Result<A, CallError> {
        let exchange = async {
            let mut stream = self.start(request).await?;
            self.answer(&mut stream).await
        };
        self.within(CALL_MAX, exchange).await
    }

    /// Opens a stream and says what it is for.
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

    /// Reads the answer.
    pub(super) async fn answer<A: DeserializeOwned>(&self, stream: &mut Stream) -> Result<A, CallError> {
        match frames::read_message(stream).await {
            Ok(Response::Done(done)) => Ok(done),
            Ok(Response::Refused(why)) => Err(CallError::RespondToModel(why)),
            Err(error) => Err(self.broken(error).await.into()),
        }
    }

    /// Reads a frame.
    pub(super) async fn frame(&self, stream: &mut Stream) -> Result<Frame, SandboxError> {
        match frames::read_frame(stream).await {
            Ok(frame) => Ok(frame),
            Err(error) => Err(self.broken(error).await),
        }
    }

    /// Holds a call to a time; one that takes longer has lost its sandbox.
    pub(super) async fn within<T>(
        &self,
        longest: Duration,
        call: impl Future<Output = Result<T, CallError>>,
    ) -> Result<T, CallError> {
        let Ok(outcome) = timeout(longest, call).await else {
            self.container.kill();
            let why = format!("it did not answer within {} s and was ended", longest.as_secs());
            return Err(SandboxError::Gone(why).into());
        };
        outcome
    }

    async fn broken(&self, error: FrameError) -> SandboxError {
        match error {
            FrameError::Ended => self.lost().await,
            FrameError::Malformed(what) => self.violated(what),
        }
    }

    /// The peer broke the protocol: ends it.
    pub(super) fn violated(&self, what: impl Into<String>) -> SandboxError {
        let what = self.violation.get_or_init(|| what.into()).clone();
        self.container.kill();
        SandboxError::Protocol(what)
    }

    /// Why a stream could not be had or broke off. A peer that resets a single stream is not
    /// trusted with another one.
    pub(super) async fn lost(&self) -> SandboxError {
        if timeout(LAST_WORDS_MAX, self.container.ended()).await.is_err() {
            self.container.kill();
        }
        match self.violation.get() {
            Some(what) => SandboxError::Protocol(what.clone()),
            None => SandboxError::gone(self.container.last_words()),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.container.kill();
        self.driver.abort();
    }
}
