//! The way from a simulated process to an edge in memory. A call there is delay, effect, delay, reply: a crash can fall
//! between effect and reply, and a reply can be lost.

use super::Result;
use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// Which half of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leg {
    /// Before the effect: an error means that nothing happened.
    There,
    /// After the effect: an error means that it happened all the same.
    Back,
}

pub type Passing = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// What can happen on the way. A process that is dead passes nothing any more: its calls never return.
pub trait Way: Debug + Send + Sync {
    fn pass(&self, operation: &'static str, leg: Leg) -> Passing;

    /// Whose way it is.
    fn who(&self) -> &str;
}

/// A process's way to one edge; by default nothing happens on it. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Wire(Option<Arc<dyn Way>>);

impl Wire {
    pub fn new(way: Arc<dyn Way>) -> Wire {
        Wire(Some(way))
    }

    pub(super) fn who(&self) -> &str {
        self.0.as_ref().map_or("", |way| way.who())
    }

    /// Carries a call there and its outcome back.
    pub(super) async fn carry<T>(&self, operation: &'static str, call: impl Future<Output = Result<T>>) -> Result<T> {
        let Some(way) = &self.0 else { return call.await };
        way.pass(operation, Leg::There).await?;
        let outcome = call.await;
        way.pass(operation, Leg::Back).await?;
        outcome
    }
}
