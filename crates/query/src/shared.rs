//! One piece of work for all who wait for it.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

/// A value that is made anew for whoever asks, and shared by those who wait meanwhile.
///
/// Whoever asks gets a value whose making began after they asked: never one that was begun before.
#[derive(Debug)]
pub(crate) struct Shared<T> {
    /// Orders askings and beginnings.
    tickets: AtomicU64,
    last: Mutex<Option<Made<T>>>,
}

#[derive(Debug)]
struct Made<T> {
    begun: u64,
    value: T,
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self { tickets: AtomicU64::new(0), last: Mutex::new(None) }
    }
}

impl<T: Clone> Shared<T> {
    /// The value of `make`, called with the last value there was, or that of somebody else's call
    /// that began after this one. When it is dropped meanwhile, the next one begins without a last
    /// value.
    pub(crate) async fn get<F: Future<Output = T>>(&self, make: impl FnOnce(Option<T>) -> F) -> T {
        let asked = self.ticket();
        let mut last = self.last.lock().await;
        if let Some(made) = last.as_ref().filter(|made| made.begun > asked) {
            return made.value.clone();
        }
        let begun = self.ticket();
        let value = make(last.take().map(|made| made.value)).await;
        *last = Some(Made { begun, value: value.clone() });
        value
    }

    fn ticket(&self) -> u64 {
        self.tickets.fetch_add(1, Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;
    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn those_who_wait_share_what_began_after_they_came() {
        let (shared, gate) = (Shared::default(), Semaphore::new(0));
        let count = AtomicU64::new(0);
        let make = async |_| {
            let number = count.fetch_add(1, Ordering::SeqCst);
            gate.acquire().await.unwrap().forget();
            number
        };
        let all = join_all((0..5).map(|_| shared.get(make)));
        let (got, ()) = tokio::join!(all, async { gate.add_permits(10) });
        assert_eq!(got, [0, 1, 1, 1, 1], "the first one's own, and one for those who came during it");
        assert_eq!(shared.get(make).await, 2, "nothing is shared with who comes later");
    }

    #[tokio::test]
    async fn who_gives_up_leaves_no_lock_and_no_half_made_value() {
        let shared = Shared::default();
        shared.get(async |_| 1).await;
        let given_up = futures::poll!(Box::pin(shared.get(async |_| std::future::pending().await)));
        assert!(given_up.is_pending());
        assert_eq!(shared.get(async |last| last.unwrap_or(7)).await, 7);
    }
}
