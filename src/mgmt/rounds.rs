//! What many ask for at once is asked for once.
//!
//! A core that is asked takes some microseconds from commands, so how often it is does not depend on how many clients there are, or how
//! fast one of them is. Whoever asks has what was found out after that, and nothing older: there is a round for all who have asked since the
//! last one began, [`ROUND_SPACING`] after that at the earliest.

use crate::fabric::report::{CoreReport, SessionReport};
use crate::limits::ROUND_SPACING;
use crate::panics::Mutex;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::oneshot;
use tokio::time::sleep_until;

/// What each core tells; `None`: it has not answered in time.
pub type Cores = Vec<Option<CoreReport>>;

/// All sessions, with their cores, by TSIH, and the cores that have not answered in time.
pub type Sessions = (Vec<(usize, SessionReport)>, Vec<usize>);

/// What the cores are asked for by many.
#[derive(Debug, Default)]
pub struct Asked {
    pub(super) cores: Rounds<Cores>,
    pub(super) sessions: Rounds<Sessions>,
}

/// The rounds of one question.
#[derive(Debug)]
pub struct Rounds<T>(Arc<Mutex<Next<T>>>);

#[derive(Debug)]
struct Next<T> {
    /// Who waits for the next round.
    waiting: Vec<oneshot::Sender<Arc<T>>>,
    /// Before this it does not begin. `None`: there was none yet.
    not_before: Option<Instant>,
}

impl<T> Default for Rounds<T> {
    fn default() -> Rounds<T> {
        Rounds(Arc::new(Mutex::new(Next { waiting: Vec::new(), not_before: None })))
    }
}

impl<T: Send + Sync + 'static> Rounds<T> {
    /// What `ask` comes to, or that of another who has asked for the same round. `None`: it has panicked.
    pub async fn join<F>(&self, ask: impl FnOnce() -> F + Send + 'static) -> Option<Arc<T>>
    where
        F: Future<Output = T> + Send,
    {
        let (tell, told) = oneshot::channel();
        if let Some(begin) = self.wait_for_next(tell) {
            let next = Arc::clone(&self.0);
            // Not by this one itself: its client may go.
            tokio::spawn(async move {
                sleep_until(begin.into()).await;
                let waiting = Rounds::begin(&next);
                let found = Arc::new(ask().await);
                waiting.into_iter().for_each(|tell| drop(tell.send(Arc::clone(&found))));
            });
        }
        told.await.ok()
    }

    /// When the next round begins, if this is the first who waits for it.
    fn wait_for_next(&self, tell: oneshot::Sender<Arc<T>>) -> Option<Instant> {
        let mut next = self.0.lock();
        next.waiting.push(tell);
        let now = Instant::now();
        (next.waiting.len() == 1).then(|| next.not_before.unwrap_or(now).max(now))
    }

    /// Who waits for the round that begins now.
    fn begin(next: &Mutex<Next<T>>) -> Vec<oneshot::Sender<Arc<T>>> {
        let mut next = next.lock();
        next.not_before = Some(Instant::now() + ROUND_SPACING);
        std::mem::take(&mut next.waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::task::JoinSet;

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(test);
    }

    #[test]
    fn many_who_ask_at_once_have_one_round_and_who_asks_later_another() {
        run(async {
            let (rounds, asked) = (Arc::new(Rounds::default()), Arc::new(AtomicUsize::new(0)));
            let ask = |asked: &Arc<AtomicUsize>| {
                let asked = Arc::clone(asked);
                move || async move { asked.fetch_add(1, Ordering::Relaxed) }
            };
            let began = Instant::now();
            for round in 0..3 {
                let mut all = JoinSet::new();
                for _ in 0..100 {
                    let (rounds, ask) = (Arc::clone(&rounds), ask(&asked));
                    all.spawn(async move { *rounds.join(ask).await.unwrap() });
                }
                assert!(all.join_all().await.into_iter().all(|found| found == round), "round {round}");
            }
            assert_eq!(asked.load(Ordering::Relaxed), 3);
            assert!(began.elapsed() >= 2 * ROUND_SPACING, "not as fast as they can be asked for");
        });
    }

    #[test]
    fn who_asks_while_a_round_is_under_way_has_what_was_found_out_later() {
        run(async {
            let rounds = Arc::new(Rounds::default());
            let (release, released) = oneshot::channel::<()>();
            let slow = {
                let rounds = Arc::clone(&rounds);
                tokio::spawn(async move {
                    let ask = || async {
                        let _ = released.await;
                        "first"
                    };
                    rounds.join(ask).await.map(|found| *found)
                })
            };
            // It has begun when another one can be waited for.
            while rounds.0.lock().not_before.is_none() {
                tokio::task::yield_now().await;
            }
            assert_eq!(
                rounds.join(|| async { "second" }).await.as_deref(),
                Some(&"second"),
                "nor does it wait for the slow one"
            );
            release.send(()).unwrap();
            assert_eq!(slow.await.unwrap(), Some("first"));
        });
    }

    #[test]
    fn who_goes_keeps_nobody_from_an_answer_nor_does_one_that_panics() {
        run(async {
            let rounds = Arc::new(Rounds::default());
            let first = {
                let rounds = Arc::clone(&rounds);
                tokio::spawn(async move { rounds.join(|| async { 1 }).await })
            };
            tokio::task::yield_now().await;
            let second = {
                let rounds = Arc::clone(&rounds);
                tokio::spawn(async move { rounds.join(|| async { 2 }).await })
            };
            first.abort();
            let found = second.await.unwrap().map(|found| *found);
            assert!([Some(1), Some(2)].contains(&found), "{found:?}");
            assert_eq!(rounds.join(|| async { panic!("of a test") }).await, None);
            assert_eq!(rounds.join(|| async { 3 }).await.as_deref(), Some(&3));
        });
    }
}
