//! Work that goes on when nobody waits for it any more.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::runtime::Handle;

/// A future that is spawned when it is dropped before its end. Unlike a task from the start it costs nothing where nobody leaves,
/// which is nearly always. Only a runtime that shuts down ends it early.
pub struct ToTheEnd<F: Future<Output: Send> + Send + 'static>(Option<Pin<Box<F>>>);

/// Work that must not be left half done: hyper drops a request's future as soon as its client goes away.
pub fn to_the_end<F: Future<Output: Send> + Send + 'static>(work: F) -> ToTheEnd<F> {
    ToTheEnd(Some(Box::pin(work)))
}

impl<F: Future<Output: Send> + Send + 'static> Future for ToTheEnd<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Some(work) = &mut self.0 else {
            // Polled after its end, which nobody may do.
            return Poll::Pending;
        };
        let output = ready!(work.as_mut().poll(context));
        self.0 = None;
        Poll::Ready(output)
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for ToTheEnd<F> {
    fn drop(&mut self) {
        if let (Some(work), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(work);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn goes_on_when_it_is_dropped() {
        let (done, is_done) = oneshot::channel();
        let work = to_the_end(async move {
            tokio::time::sleep(Duration::from_secs(10)).await;
            done.send(7).unwrap();
        });
        assert!(tokio::time::timeout(Duration::from_secs(1), work).await.is_err());
        assert_eq!(is_done.await, Ok(7));
    }

    #[tokio::test]
    async fn gives_its_output_to_who_waits() {
        assert_eq!(to_the_end(async { 7 }).await, 7);
    }
}
