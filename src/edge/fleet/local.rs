//! A fleet of child processes of this binary.
//!
//! A child holds the lock `pool/<id>.lock` for life and reads a pipe from its parent as stdin: end of file means
//! finish and exit. So the lock says who is there, whoever started it, and a killed parent leaves nobody behind for
//! ever. A lock held by a process that is no child of ours (an orphan of a killed parent) counts as shutting down
//! until it is free; one that holds it too long is killed.

pub mod lock;

use super::Api;
use crate::edge::host::Host;
use crate::edge::{Error, Kind, Result};
use bellows_core::control::{Intent, Spec};
use bellows_core::message::Epoch;
use bellows_core::pool::{AppTierId, Instance, InstanceId, LaunchToken, Named, State};
use bellows_core::time::Timestamp;
use lock::Lock;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::Notify;
use tokio::time::Instant;

/// How an instance ends that left the pool by itself.
const RETIRED: i32 = 80;
/// One that is ended is given so long to see it: it may be about to end by itself.
const TERMINATE_GRACE: Duration = Duration::from_secs(2);
/// How often those that are to end are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How an instance of this fleet is started, and where its lock lies.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Folder of the locks.
    pub pool_dir: PathBuf,
    pub program: PathBuf,
    /// Arguments before those that name the id.
    pub arguments: Vec<OsString>,
    /// An instance that is to finish what it holds and has not after so long is killed.
    pub kill_after: Duration,
}

/// Called with the pid of a child that has ended, to remove what it left half-written.
pub type Sweep = Arc<dyn Fn(u32) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// Cheap to clone.
#[derive(Clone)]
pub struct Fleet(Arc<Inner>);

struct Inner {
    settings: Settings,
    host: Host,
    sweep: Sweep,
    members: Mutex<BTreeMap<InstanceId, Member>>,
    /// Since when an orphan has been seen to hold a lock.
    orphans: Mutex<BTreeMap<AppTierId, Instant>>,
    changed: Arc<Notify>,
}

/// A child of ours.
struct Member {
    app_tier_id: AppTierId,
    token: LaunchToken,
    launched_at: Timestamp,
    pid: u32,
    /// Closing it asks the child to finish.
    pipe: Option<ChildStdin>,
    /// It is asked to end; then it is killed.
    kill_at: Option<Instant>,
    gone: bool,
}

impl Member {
    fn end(&mut self, kill_at: Instant) {
        self.pipe = None;
        self.kill_at = Some(self.kill_at.map_or(kill_at, |at| at.min(kill_at)));
    }
}

impl std::fmt::Debug for Fleet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("local::Fleet").field(&self.0.settings).finish()
    }
}

impl Fleet {
    pub fn new(settings: Settings, host: Host, sweep: Sweep) -> Result<Fleet> {
        std::fs::create_dir_all(&settings.pool_dir)
            .map_err(|e| Error::io("fleet.open", settings.pool_dir.display(), e))?;
        Ok(Fleet(Arc::new(Inner {
            settings,
            host,
            sweep,
            members: Mutex::default(),
            orphans: Mutex::default(),
            changed: Arc::default(),
        })))
    }

    pub fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.0.changed)
    }

    fn members(&self) -> MutexGuard<'_, BTreeMap<InstanceId, Member>> {
        self.0.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_path(&self, id: AppTierId) -> PathBuf {
        self.0.settings.pool_dir.join(format!("{}.lock", id.0))
    }

    fn launch_one(&self, id: AppTierId, token: LaunchToken) -> Result<Named> {
        let Inner { settings, host, .. } = &*self.0;
        let instance_id = InstanceId(format!("{}-{}", id.0, host.entropy.uuid().simple()));
        let mut child = Command::new(&settings.program)
            .args(&settings.arguments)
            .arg(format!("--set=app.app_tier_id={}", id.0))
            .arg(format!("--set=app.instance_id={}", instance_id.0))
            .stdin(Stdio::piped())
            // systemd hears of the service by this process alone
            .env_remove("NOTIFY_SOCKET")
            .process_group(0)
            .spawn()
            .map_err(|e| Error::io("fleet.launch", settings.program.display(), e))?;
        let launched_at = host.clock.now();
        let pid = child.id().unwrap_or_default();
        let pipe = child.stdin.take();
        let member = Member { app_tier_id: id, token, launched_at, pid, pipe, kill_at: None, gone: false };
        self.members().insert(instance_id.clone(), member);
        let (fleet, name) = (self.clone(), instance_id.clone());
        host.spawn("child", async move { fleet.attend(name, child).await });
        Ok(Named { app_tier_id: id, instance_id })
    }

    /// Waits for a child's end, cleans up behind it and says so.
    async fn attend(self, instance_id: InstanceId, mut child: Child) {
        let pid = child.id().unwrap_or_default();
        let status = child.wait().await;
        match status {
            Ok(status) if matches!(status.code(), Some(0 | RETIRED)) => {
                tracing::debug!(instance.id = instance_id.0, "an app process ended");
            }
            Ok(status) => tracing::warn!(instance.id = instance_id.0, process.status = %status, "an app process ended"),
            Err(e) => tracing::warn!(instance.id = instance_id.0, error = %e, "an app process cannot be waited for"),
        }
        (self.0.sweep)(pid).await;
        if let Some(member) = self.members().get_mut(&instance_id) {
            member.gone = true;
        }
        self.0.changed.notify_one();
    }

    /// Our children as they stand; those that are gone are told once more and then forgotten.
    fn list_members(&self) -> Vec<Instance> {
        let mut members = self.members();
        let listed = members.iter().map(|(instance_id, member)| Instance {
            app_tier_id: member.app_tier_id,
            instance_id: instance_id.clone(),
            launched_at: member.launched_at,
            token: Some(member.token),
            state: match member {
                Member { gone: true, .. } => State::Terminated,
                Member { kill_at: Some(_), .. } => State::ShuttingDown,
                _ if lock::is_held(&self.lock_path(member.app_tier_id)) => State::Running,
                _ => State::Pending,
            },
        });
        let listed = listed.collect();
        for member in members.values_mut() {
            if member.kill_at.is_some_and(|at| Instant::now() >= at) && !member.gone {
                lock::kill(member.pid);
            }
        }
        members.retain(|_, member| !member.gone);
        listed
    }

    /// Locks held by processes that are no children of ours.
    fn list_orphans(&self, ours: &[Instance]) -> Result<Vec<Instance>> {
        let mut found = Vec::new();
        let mut orphans = self.0.orphans.lock().unwrap_or_else(PoisonError::into_inner);
        for id in lock::ids(&self.0.settings.pool_dir)? {
            let is_ours = ours.iter().any(|i| i.app_tier_id == id && i.state != State::Terminated);
            let holder = if is_ours { None } else { lock::holder(&self.lock_path(id)) };
            let Some(holder) = holder else {
                orphans.remove(&id);
                continue;
            };
            let since = *orphans.entry(id).or_insert_with(Instant::now);
            if since.elapsed() > self.0.settings.kill_after {
                holder.kill();
            }
            found.push(Instance {
                app_tier_id: id,
                instance_id: InstanceId(holder.instance_id),
                state: State::ShuttingDown,
                launched_at: Timestamp(0),
                token: None,
            });
        }
        Ok(found)
    }
}

impl Api for Fleet {
    /// There is one way only.
    async fn plan(&self, _ids: &[AppTierId], _epoch: Epoch) -> Result<Spec> {
        Ok(Spec::default())
    }

    async fn launch(&self, intent: &Intent) -> Result<Vec<Named>> {
        let of_launch = |(id, member): (&InstanceId, &Member)| {
            let (app_tier_id, instance_id) = (member.app_tier_id, id.clone());
            (member.token == intent.token).then_some(Named { app_tier_id, instance_id })
        };
        let mut launched: Vec<Named> = self.members().iter().filter_map(of_launch).collect();
        if !launched.is_empty() {
            return Ok(launched);
        }
        for id in &intent.ids {
            match self.launch_one(*id, intent.token) {
                Ok(named) => launched.push(named),
                Err(e) if launched.is_empty() => return Err(e),
                Err(e) => {
                    tracing::warn!(error = %e, "launched fewer app processes than asked for");
                    break;
                }
            }
        }
        Ok(launched)
    }

    async fn list(&self) -> Result<Vec<Instance>> {
        let mut listed = self.list_members();
        listed.extend(self.list_orphans(&listed)?);
        Ok(listed)
    }

    async fn terminate(&self, ids: &[InstanceId]) -> Result<()> {
        let mut members = self.members();
        for id in ids {
            if let Some(member) = members.get_mut(id) {
                member.end(Instant::now() + TERMINATE_GRACE);
            }
        }
        Ok(())
    }

    async fn release(&self, limit: Duration) {
        for member in self.members().values_mut() {
            member.end(Instant::now() + self.0.settings.kill_after);
        }
        let until = Instant::now() + limit;
        while self.list_members().iter().any(|instance| instance.state != State::Terminated) {
            if Instant::now() >= until {
                return tracing::warn!("some app processes have not ended; they finish by themselves");
            }
            let _ = tokio::time::timeout(LOOK_EVERY, self.0.changed.notified()).await;
        }
    }
}

/// Takes the lock that makes this process the member `id` of the pool; `Conflict` where somebody else is.
pub fn join(pool_dir: &std::path::Path, id: AppTierId, instance_id: &InstanceId) -> Result<Lock> {
    Lock::take(&pool_dir.join(format!("{}.lock", id.0)), &instance_id.0).map_err(|e| match e.kind {
        Kind::Conflict => {
            Error::new(Kind::Conflict, "fleet.join", format!("app-tier id {} is taken: {}", id.0, e.detail))
        }
        _ => e,
    })
}

/// Cancels the host's `stop` when the parent is gone or wants this process to finish.
pub fn watch_parent(host: &Host) -> Result<()> {
    let stop = host.stop.clone();
    std::thread::Builder::new()
        .name("parent-pipe".into())
        .spawn(move || {
            // nothing is ever written: the read returns when the pipe's other end is closed
            let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
            stop.cancel();
        })
        .map_err(|e| Error::io("fleet.join", "a thread for the parent's pipe", e))?;
    Ok(())
}
