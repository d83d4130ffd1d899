//! Notices connections that keep silent: one timer a connection, where hyper's own costs one a request.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use model::limits;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How often a connection is looked at: a limit is kept to within so much.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Between requests.
const IDLE: u64 = 0;
/// Some bytes of a request's head have come.
const HEAD: u64 = 1;
/// The request is being answered; its own limits hold (`body`, the store's time limit).
const ANSWERING: u64 = 2;
/// The phase is in the low bits; the rest counts changes, so that two looks can tell whether anything happened.
const PHASES: u64 = 4;

/// Where a connection is in its present request. Shared by its reader, its service and its guard.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<AtomicU64>);

impl Progress {
    /// The head is complete: the service has begun.
    pub fn answering(&self) {
        self.enter(ANSWERING);
    }

    /// The service has its answer. What is still to be written counts as progress by itself.
    pub fn answered(&self) {
        self.enter(IDLE);
    }

    fn has_read(&self) {
        if self.phase() == IDLE {
            self.enter(HEAD);
        }
    }

    fn has_written(&self) {
        self.enter(self.phase());
    }

    /// Only the connection's own task changes it: no change is lost between the load and the store.
    fn enter(&self, phase: u64) {
        let changes = self.0.load(Ordering::Relaxed) / PHASES;
        self.0
            .store(changes.wrapping_add(1).wrapping_mul(PHASES) | phase, Ordering::Relaxed);
    }

    fn phase(&self) -> u64 {
        self.0.load(Ordering::Relaxed) % PHASES
    }

    /// Returns once the connection has been silent for longer than its phase allows.
    pub async fn silent_for_too_long(&self) {
        let mut seen = self.0.load(Ordering::Relaxed);
        let mut silent = Duration::ZERO;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let now = self.0.load(Ordering::Relaxed);
            silent = if now == seen {
                silent + LOOK_EVERY
            } else {
                Duration::ZERO
            };
            seen = now;
            let limit = match now % PHASES {
                IDLE => limits::KEEP_ALIVE_TIMEOUT,
                HEAD => limits::HEAD_READ_TIMEOUT,
                _ => continue,
            };
            if silent >= limit {
                return;
            }
        }
    }
}

/// A connection whose reads and writes are noted.
pub struct Watched<C> {
    connection: C,
    progress: Progress,
}

impl<C> Watched<C> {
    /// Notes in `progress` what passes over `connection`; as hyper takes it.
    pub fn new(connection: C, progress: Progress) -> TokioIo<Self> {
        TokioIo::new(Self { connection, progress })
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Watched<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.connection).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.progress.has_read();
        }
        polled
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Watched<C> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.connection).poll_write(context, bytes);
        if polled.is_ready() {
            self.progress.has_written();
        }
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.connection).poll_write_vectored(context, slices);
        if polled.is_ready() {
            self.progress.has_written();
        }
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        time::{Instant, timeout},
    };

    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    /// Seconds until the guard gives the connection up.
    async fn given_up_after(progress: &Progress) -> u64 {
        let begin = Instant::now();
        timeout(LONG, progress.silent_for_too_long()).await.expect("given up");
        begin.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_may_wait_longer_than_half_a_head() {
        let progress = Progress::default();
        assert_eq!(given_up_after(&progress).await, limits::KEEP_ALIVE_TIMEOUT.as_secs());
        progress.has_read();
        assert_eq!(given_up_after(&progress).await, limits::HEAD_READ_TIMEOUT.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_trickles_in_is_given_up() {
        let (mut client, server) = tokio::io::duplex(64);
        let progress = Progress::default();
        let mut watched = Watched::new(server, progress.clone()).into_inner();
        let trickle = async {
            loop {
                client.write_all(b"x").await.unwrap();
                watched.read_u8().await.unwrap();
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        let begin = Instant::now();
        tokio::select! {
            () = trickle => unreachable!("it goes on for ever"),
            () = progress.silent_for_too_long() => {}
        }
        assert!(begin.elapsed() <= limits::HEAD_READ_TIMEOUT + 2 * LOOK_EVERY);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_may_take_its_time_and_what_is_written_counts() {
        let (mut client, server) = tokio::io::duplex(1);
        let progress = Progress::default();
        progress.answering();
        assert!(timeout(LONG, progress.silent_for_too_long()).await.is_err());
        progress.answered();
        let mut watched = Watched::new(server, progress.clone()).into_inner();
        let slow_reader = async {
            for _ in 0..10 {
                watched.write_all(b"x").await.unwrap();
                tokio::time::sleep(limits::KEEP_ALIVE_TIMEOUT / 2).await;
                client.read_u8().await.unwrap();
            }
        };
        tokio::select! {
            () = slow_reader => {}
            () = progress.silent_for_too_long() => panic!("given up while it was read"),
        }
    }
}
