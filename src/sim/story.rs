//! One run: a world made of a seed in which things go wrong for a while, then go right; all must be answered then, and
//! nothing left. What happens at any moment is the truth's to judge, what must happen in time is judged here.

use super::chance::Chance;
use super::chaos::{Chaos, PLACES, Tally, Timed, What, draw};
use super::engine::{BROKEN, POISON, image};
use super::truth::{Limits, Truth};
use super::web::WebTier;
use super::world::{Kind, Settings, World};
use crate::controller::Retention;
use crate::edge::bucket::{Bucket, Etag};
use crate::edge::queue::Queue;
use crate::web::Outcome;
use bellows_core::answer::Answer;
use bellows_core::control::{Control, Pause};
use bellows_core::key;
use bellows_core::message::{self, Confirm, Epoch, Nonce, Notice, TerminateRequest, VERSION};
use bellows_core::pool::{AppTierId, InstanceId, Named};
use bellows_core::scale::{Hold, Policy, Rule};
use bellows_core::time::Timestamp;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

const SECOND: Duration = Duration::from_secs(1);
/// Long enough for anything that is to heal: ten deliveries of a poison image with all pauses between them, a lease of
/// another leader, void requests, unlisted instances.
const HEALS: Duration = Duration::from_mins(60);
/// An instance whose controller is gone, and that has no work, ends itself after 15 minutes without a word of it; looked
/// at each minute, and what it waits for comes on top.
const ABANDONED: Duration = Duration::from_mins(25);
/// A client gets its answer, a refusal or a reference within its wait (two minutes), and what calls take.
const PATIENCE: Duration = Duration::from_mins(6);

/// What came of a run.
#[derive(Clone, Debug, Default)]
pub struct Run {
    pub seed: u64,
    /// Which invariant did not hold, and how.
    pub violation: Option<String>,
    pub tally: Tally,
    /// Names of the faults that happened, in order.
    pub faults: Vec<String>,
    /// Over the log, byte for byte.
    pub hash: u64,
    /// Only where it was asked for.
    pub log: Vec<String>,
    /// Virtual time.
    pub took: Duration,
}

/// Runs one seed without the faults named in `dropped`.
pub fn run(seed: u64, dropped: &BTreeSet<String>, log: bool) -> Run {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    match runtime {
        Ok(runtime) => runtime.block_on(Play::play(seed, dropped.clone(), log)),
        Err(e) => Run { seed, violation: Some(format!("no runtime: {e}")), ..Run::default() },
    }
}

/// What a seed makes of the world.
#[derive(Clone, Debug)]
struct Scenario {
    settings: Settings,
    /// How long things go wrong.
    span: Duration,
    uploads: u64,
    shape: Shape,
    /// In the end the web tier goes for good, and the machines are alone.
    abandoned: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Even,
    Burst,
    /// As many seconds of load as of silence.
    Square(u64),
}

impl Scenario {
    fn of(seed: u64) -> Scenario {
        let pick = |what: u64, among: u64| draw(seed, 50 + what, "scenario", 0) % among;
        let kind = if pick(0, 3) == 0 { Kind::Processes } else { Kind::Machines };
        let machines = kind == Kind::Machines;
        let abandoned = machines && pick(1, 10) == 0;
        let dry_run = pick(2, 40) == 0;
        let policy = Policy {
            rule: [Rule::PerRequest, Rule::PerRequest, Rule::Backlog, Rule::Deadline][pick(3, 4) as usize],
            min: u32::from(abandoned),
            max: 2 + pick(4, 5) as u32,
            hold: Hold::Fixed(SECOND * [0, 0, 10, 60][pick(5, 4) as usize]),
            latency_target: SECOND * 15,
            counter_lag: if machines { SECOND * 60 } else { Duration::ZERO },
        };
        let settings = Settings {
            kind,
            policy,
            seed,
            boot: SECOND * (1 + pick(6, 40) as u32),
            ending: SECOND * (1 + pick(7, 20) as u32),
            lists_after: if machines { SECOND * pick(8, 30) as u32 } else { Duration::ZERO },
            service: Duration::from_millis(100 + pick(9, 4000)),
            pause: Duration::ZERO,
            visibility: SECOND * [4, 11, 30, 30][pick(14, 4) as usize],
            job_deadline: SECOND * 20,
            report_every: SECOND * if machines { 30 } else { 5 },
            tick: SECOND * if machines { 5 } else { 1 },
            dry_run,
            retention: Retention { request_ttl: Duration::from_hours(72), objects: None },
        };
        let shape = match pick(10, 4) {
            0 => Shape::Burst,
            1 => Shape::Square([10, 30, 60][pick(11, 3) as usize]),
            _ => Shape::Even,
        };
        Scenario { settings, span: SECOND * (60 + pick(12, 120) as u32), uploads: 4 + pick(13, 28), shape, abandoned }
    }

    /// When the `n`-th upload comes.
    fn at(&self, seed: u64, n: u64) -> Duration {
        let span = self.span.as_millis() as u64;
        let random = draw(seed, 70, "upload", n);
        match self.shape {
            Shape::Burst => Duration::from_millis(span / 5 * (random % 3) + random / 8 % 500),
            Shape::Even => Duration::from_millis(random % span),
            Shape::Square(half) => {
                let at = random % span;
                let half = half * 1000;
                Duration::from_millis(at - if at / half % 2 == 1 { half } else { 0 })
            }
        }
    }
}

/// A run under way.
struct Play {
    scenario: Scenario,
    chaos: Arc<Chaos>,
    world: World,
    webs: Vec<WebTier>,
    stopping: Vec<JoinHandle<WebTier>>,
    starts: u32,
    /// When a web tier is started, and on whose machine.
    due: Vec<(Instant, String)>,
    clients: Vec<JoinHandle<()>>,
    next_timed: usize,
    resumes_at: Option<u64>,
}

impl Play {
    async fn play(seed: u64, dropped: BTreeSet<String>, log: bool) -> Run {
        let scenario = Scenario::of(seed);
        let settings = &scenario.settings;
        let limits = Limits {
            max: settings.policy.max,
            dry_run: settings.dry_run,
            report_every: settings.report_every.as_millis() as u64,
            job_deadline: settings.job_deadline.as_millis() as u64,
            visibility: settings.visibility.as_millis() as u64,
            tick: settings.tick.as_millis() as u64,
        };
        let machines = settings.kind == Kind::Machines;
        let chaos = Chaos::new(seed, scenario.span, machines, Truth::new(limits), dropped, log);
        chaos.note("world", &format!("seed {seed}: {scenario:?}"));
        let began = Instant::now();
        let story = match World::within(scenario.settings.clone(), Chance::default(), Some(chaos.clone())) {
            Ok(world) => {
                let mut play = Play {
                    scenario,
                    chaos: chaos.clone(),
                    world,
                    webs: Vec::new(),
                    stopping: Vec::new(),
                    starts: 0,
                    due: vec![(began, "first".into())],
                    clients: Vec::new(),
                    next_timed: 0,
                    resumes_at: None,
                };
                play.story(seed).await
            }
            Err(e) => Err(e.to_string()),
        };
        if let Err(why) = story {
            chaos.fail(why);
        }
        let (faults, hash, log) = chaos.story();
        let (violation, tally) = chaos.with_truth(|truth| (truth.violation.clone(), truth.tally.clone()));
        Run { seed, violation, tally, faults, hash, log, took: began.elapsed() }
    }

    /// Things go wrong; then they go right; then all is answered, and nothing is left.
    async fn story(&mut self, seed: u64) -> Result<(), String> {
        let began = Instant::now();
        let mut uploads: Vec<(Duration, u64)> =
            (0..self.scenario.uploads).map(|n| (self.scenario.at(seed, n), n)).collect();
        uploads.sort();
        let mut next = uploads.into_iter().peekable();
        while began.elapsed() < self.scenario.span {
            self.look_after().await?;
            while let Some((_, n)) = next.next_if(|(at, _)| *at <= began.elapsed()) {
                self.upload(n);
            }
            let soon = next.peek().map_or(SECOND, |(at, _)| at.saturating_sub(began.elapsed()));
            sleep(soon.clamp(Duration::from_millis(1), SECOND / 2)).await;
        }
        self.chaos.calm();
        // what waited for its moment does not come any more
        self.next_timed = self.chaos.plan.len();
        self.look_after().await?;
        self.resumes_at = None;
        self.set_pause(false, false).await;
        if self.scenario.settings.dry_run {
            return self.dry().await;
        }
        if self.scenario.abandoned {
            return self.abandon().await;
        }
        self.comes_to_rest("after the faults").await?;
        self.is_led().await?;
        self.probe(seed).await?;
        self.accounts()
    }

    /// Starts and ends what is due, and sees whether all is well so far.
    async fn look_after(&mut self) -> Result<(), String> {
        self.strike().await;
        let due: Vec<String> =
            self.due.extract_if(.., |(at, _)| *at <= Instant::now()).map(|(_, owner)| owner).collect();
        for owner in due {
            self.start(&owner);
        }
        let mut dead = Vec::new();
        self.webs.retain(|web| {
            let lives = !web.controller.is_killed();
            if !lives {
                dead.push(web.name.clone());
            }
            lives
        });
        for name in dead {
            self.world.orphan();
            self.died(&name);
        }
        self.violation()
    }

    fn violation(&self) -> Result<(), String> {
        self.chaos.with_truth(|truth| truth.violation.clone()).map_or(Ok(()), Err)
    }

    fn start(&mut self, owner: &str) {
        self.starts += 1;
        let name = format!("web-{}", self.starts);
        self.chaos.note(&name, &format!("starts on the machine {owner}"));
        self.webs.push(self.world.start_web_tier(&name, owner));
    }

    /// A web tier died: it is started again on its machine, or on another one that takes its place.
    fn died(&mut self, name: &str) {
        self.chaos.note(name, "is dead");
        let random = draw(self.chaos.seed, 80, name, 0);
        let machines = self.scenario.settings.kind == Kind::Machines;
        let owner = if machines && random.is_multiple_of(3) { format!("after-{name}") } else { "first".into() };
        // who holds the lock of one machine is alone on it, and so is who waits to start there
        let alone = self.webs.is_empty() && self.due.iter().all(|(_, due)| *due != owner);
        let owner = if alone { owner } else { format!("beside-{name}") };
        self.due.push((Instant::now() + SECOND * (random / 8 % 30) as u32, owner));
    }

    async fn strike(&mut self) {
        let at = self.chaos.at();
        while let Some(timed) = self.chaos.plan.get(self.next_timed).cloned().filter(|timed| self.is_due(timed, at)) {
            self.next_timed += 1;
            self.chaos.strikes(&timed);
            self.carry_out(&timed).await;
        }
        if self.resumes_at.is_some_and(|end| end <= at) {
            self.resumes_at = None;
            self.set_pause(false, false).await;
        }
    }

    /// A pause comes, if it can, while a worker that was asked to retire is not done yet.
    fn is_due(&self, timed: &Timed, at: u64) -> bool {
        let asked_at = || self.chaos.with_truth(|truth| truth.asked_busy_at);
        let pause = matches!(timed.what, What::Pause | What::NewerPause);
        timed.from <= at && (!pause || at > timed.from + 20_000 || asked_at().is_some_and(|asked| asked + 600 > at))
    }

    async fn carry_out(&mut self, timed: &Timed) {
        let someone = self.someone(timed.from);
        match timed.what {
            What::Outage(..) | What::NoCapacity | What::FullPlace(_) | What::Rationed => {}
            What::KillWeb => {
                if let Some(web) = self.webs.first() {
                    self.chaos.with_truth(|truth| {
                        truth.count(if web.waiting() > 0 {
                            "web tier killed while clients wait"
                        } else {
                            "web tier killed idle"
                        });
                    });
                    web.controller.kill();
                }
            }
            What::RestartWeb => self.replace(),
            What::SecondWeb => self.due.push((Instant::now(), "second".into())),
            What::CutOff => {
                if let Some(web) = self.webs.iter().find(|web| web.controller.status.pool().leads) {
                    self.chaos.cut_off(&web.name, timed.to);
                    self.due.push((Instant::now(), "beside-who-is-cut-off".into()));
                }
            }
            What::Forgery => self.forge(timed.from, someone).await,
            What::OldRequest => self.ask_of_old(timed.from).await,
            What::Pause | What::NewerPause => {
                self.set_pause(true, timed.what == What::NewerPause).await;
                self.resumes_at = Some(timed.to.max(self.chaos.at() + 5000));
            }
            What::Evict => {
                if let Some(named) = someone
                    && self.world.evict_worker(&named.instance_id)
                {
                    let world = self.world.clone();
                    self.chaos.with_truth(|truth| truth.doom(&named.instance_id));
                    self.world.host.spawn("spot", async move {
                        sleep(Duration::from_mins(2)).await;
                        world.kill_worker(&named.instance_id);
                    });
                }
            }
            What::KillWorker => {
                if let Some(named) = someone {
                    self.chaos.with_truth(|truth| truth.doom(&named.instance_id));
                    self.world.kill_worker(&named.instance_id);
                }
            }
            What::HangWorker => {
                if let Some(named) = someone {
                    self.chaos.with_truth(|truth| truth.doom(&named.instance_id));
                    self.world.hang_worker(&named.instance_id);
                }
            }
        }
    }

    /// A confirmation that no worker sent: of an instance that nobody knows, or of one that is there under another's id.
    async fn forge(&self, random: u64, someone: Option<Named>) {
        let nobody = Named { app_tier_id: AppTierId(1), instance_id: InstanceId("1-nobody".into()) };
        let named = someone.filter(|_| random.is_multiple_of(2)).map_or(nobody, |named| Named {
            app_tier_id: AppTierId(named.app_tier_id.0 % self.scenario.settings.policy.max + 1),
            ..named
        });
        let epoch = self.epoch().await;
        let (nonce, Named { app_tier_id, instance_id }) = (Nonce(Uuid::from_u128(random.into())), named);
        let forged = Notice::Confirm(Confirm { v: VERSION, nonce, epoch, app_tier_id, instance_id });
        let notices = Queue::Memory(self.world.notices.clone());
        let _ = notices.send(message::encode(&forged).unwrap_or_default()).await;
    }

    /// A terminate request of an earlier leader, delivered again or very late.
    async fn ask_of_old(&self, random: u64) {
        let (nonce, epoch) = (Nonce(Uuid::from_u128(random.into())), Epoch(self.epoch().await.0.saturating_sub(1)));
        let expires_at = self.world.host.clock.now().plus(Duration::from_hours(1));
        let request = TerminateRequest { v: VERSION, nonce, epoch, expires_at };
        let requests = Queue::Memory(self.world.terminate_requests.clone());
        let _ = requests.send(message::encode(&request).unwrap_or_default()).await;
    }

    async fn epoch(&self) -> Epoch {
        self.world.control().await.map_or(Epoch(0), |control| control.epoch)
    }

    /// A newer web tier in the place of the oldest one.
    fn replace(&mut self) {
        if self.webs.is_empty() {
            return;
        }
        let old = self.webs.remove(0);
        let (world, processes) = (self.world.clone(), self.scenario.settings.kind == Kind::Processes);
        // on one machine the lock is free when the old one has ended; its workers end with it. Else it is another machine
        let (wait, owner) = if processes { (61, "first".into()) } else { (0, format!("newer-than-{}", old.name)) };
        self.due.push((Instant::now() + SECOND * wait, owner));
        let stopping = async move {
            let _ = tokio::time::timeout(SECOND * 60, old.stop()).await;
            old.controller.kill();
            world.orphan();
            old
        };
        self.stopping.push(task(stopping));
    }

    fn someone(&self, random: u64) -> Option<Named> {
        let live = self.world.live();
        (!live.is_empty()).then(|| live[random as usize % live.len()].clone())
    }

    /// What `bellows pause` and `bellows resume` do.
    async fn set_pause(&self, on: bool, newer: bool) {
        let output = Bucket::Memory(self.world.output.clone());
        for _ in 0..3 {
            let Ok(Some(object)) = output.get(key::CONTROL).await else { return };
            let Ok(mut control) = Control::parse(&object.bytes) else { return };
            if newer {
                control.rest.insert("newer".into(), serde_json::json!({ "at": self.chaos.at(), "more": [null, 1.5] }));
            }
            let pause = on.then(|| Pause { since: Timestamp(1), by: "a person".into() });
            let body = control.with_pause(pause).to_bytes().into();
            if output.compare_and_swap(key::CONTROL, Some(&Etag(object.etag.0)), body).await.is_ok() {
                return;
            }
        }
    }

    /// A client uploads the `n`-th image, to one of those who serve.
    fn upload(&mut self, n: u64) {
        let random = draw(self.chaos.seed, 71, "image", n);
        let kind = match random % 64 {
            0 => POISON,
            1 | 2 => BROKEN,
            _ => "image",
        };
        let file = format!("{kind}-{n}.png");
        let chaos = self.chaos.clone();
        if self.webs.is_empty() {
            return chaos.note("client", "finds nobody to connect to");
        }
        let web = &self.webs[(random / 64) as usize % self.webs.len()];
        let outcome = web.upload(file.clone(), image(&file));
        self.clients.push(task(async move {
            match tokio::time::timeout(PATIENCE, outcome).await {
                Err(_) => chaos.fail(format!("invariant 1: a client waits for an answer to {file} for {PATIENCE:?}")),
                Ok(Err(_)) => chaos.with_truth(|truth| truth.count("connection broken by a crash")),
                Ok(Ok(outcome)) => told(&chaos, &file, &outcome),
            }
        }));
    }

    /// All that was accepted is answered, and nothing is left.
    async fn comes_to_rest(&mut self, when: &str) -> Result<(), String> {
        let until = Instant::now() + HEALS;
        loop {
            self.look_after().await?;
            let (open, live, messages) = self.chaos.with_truth(|truth| (truth.open, truth.live, truth.messages()));
            if open == 0 && live == 0 && messages == 0 && self.intents().await == 0 {
                self.chaos.note("world", "is at rest");
                self.chaos.with_truth(|truth| truth.count("came to rest"));
                return self.violation();
            }
            if Instant::now() > until {
                let left = self.chaos.with_truth(|truth| truth.left());
                let invariant = if open > 0 { "1" } else { "4" };
                return Err(format!("invariant {invariant}: not at rest {HEALS:?} {when}: {left}"));
            }
            sleep(SECOND).await;
        }
    }

    /// Somebody leads, no call is slow any more, and the longest pause after failed launches is over, as is the memory of
    /// full places.
    async fn is_led(&mut self) -> Result<(), String> {
        let least = if self.scenario.settings.kind == Kind::Machines { 4 } else { 1 };
        for minute in 1..=10 {
            sleep(SECOND * 60).await;
            self.look_after().await?;
            if minute >= least && self.webs.iter().any(|web| web.controller.status.pool().leads) {
                return Ok(());
            }
        }
        Err("invariant 5: nobody leads for ten minutes".into())
    }

    async fn intents(&self) -> usize {
        self.world.control().await.map_or(0, |control| control.intents.len())
    }

    /// Where nothing is left, work brings an instance within two ticks, and as much of it as many as are allowed: every id
    /// is free.
    async fn probe(&mut self, seed: u64) -> Result<(), String> {
        let settings = self.scenario.settings.clone();
        let most = u64::from(settings.policy.max);
        let one_is_full = settings.kind == Kind::Machines && seed.is_multiple_of(2);
        if one_is_full {
            self.chaos.fill(PLACES[0]);
        }
        self.chaos.with_truth(|truth| truth.most_live = truth.live);
        self.chaos.note("world", "is tried again");
        let first = 1000 + seed % 7;
        for n in 0..most {
            self.upload_good(first + n);
        }
        sleep(settings.tick * 2 + SECOND).await;
        let live = self.chaos.with_truth(|truth| truth.most_live);
        if live == 0 {
            let which = if one_is_full { "11: one place is full, and" } else { "5:" };
            return Err(format!("invariant {which} two ticks after an upload nothing boots"));
        }
        if one_is_full {
            self.chaos.with_truth(|truth| truth.count("work found one place full"));
        }
        self.chaos.with_truth(|truth| truth.count("work found an empty pool"));
        if settings.policy.rule == Rule::PerRequest && live != settings.policy.max {
            return Err(format!("invariant 6: {most} uploads bring {live} instances: ids are not free"));
        }
        self.comes_to_rest("after all was well").await
    }

    fn upload_good(&mut self, n: u64) {
        let file = format!("image-{n}.png");
        let chaos = self.chaos.clone();
        let Some(web) = self.webs.last() else { return };
        let outcome = web.upload(file.clone(), image(&file));
        self.clients.push(task(async move {
            match tokio::time::timeout(PATIENCE, outcome).await {
                Ok(Ok(outcome)) => told(&chaos, &file, &outcome),
                _ => chaos.fail(format!("invariant 1: no answer to {file} while all was well")),
            }
        }));
    }

    /// The web tier goes for good: who has no work left ends.
    async fn abandon(&mut self) -> Result<(), String> {
        self.chaos.note("world", "loses its web tiers for good");
        for web in self.webs.drain(..) {
            web.controller.kill();
        }
        self.due.clear();
        let (live, until) = (self.chaos.with_truth(|truth| truth.live), Instant::now() + ABANDONED);
        while Instant::now() < until {
            self.violation()?;
            sleep(SECOND * 10).await;
        }
        let left = self.chaos.with_truth(|truth| truth.live);
        // one that never became ready, or hangs, is nobody's to end: those are found dead
        let dead = self.world.machines_without_worker();
        if left > dead {
            let words = self.chaos.with_truth(|truth| truth.left());
            return Err(format!("invariant 15: {ABANDONED:?} after the last controller {left} live: {words}"));
        }
        if live > 0 {
            self.chaos.with_truth(|truth| truth.count("machines without a controller ended"));
        }
        Ok(())
    }

    /// In a dry run nothing is launched, and nobody is lost.
    async fn dry(&mut self) -> Result<(), String> {
        sleep(SECOND * 30).await;
        self.violation()?;
        let (live, accepted) = self.chaos.with_truth(|truth| (truth.live, truth.accepted));
        if live > 0 {
            return Err(format!("invariant 14: {live} instances in a dry run"));
        }
        if accepted > 0 {
            self.chaos.with_truth(|truth| truth.count("work in a dry run"));
        }
        Ok(())
    }

    /// What controllers say that they did is what they did.
    fn accounts(&self) -> Result<(), String> {
        for web in &self.webs {
            let (least, most) = self.chaos.with_truth(|truth| truth.cancelled_by(&web.name));
            let text = web.controller.metrics.render();
            let series = "bellows_scale_actions_total{action=\"cancel\"}";
            let said = text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse::<u64>().ok());
            if said.is_none_or(|said| said < least || said > most) {
                return Err(format!("invariant 7: {} says {said:?} cancelled, it was {least} to {most}", web.name));
            }
        }
        Ok(())
    }
}

/// What a client is told is about its own image.
fn told(chaos: &Chaos, file: &str, outcome: &Outcome) {
    let (own, counted) = match outcome {
        Outcome::Answered(answer) => match &**answer {
            Answer::Classified(c) => (c.file == file && c.label == super::truth::label(file), "client got its answer"),
            Answer::Failed(f) => (f.file == file, "client got its error"),
        },
        Outcome::Pending(_) => (true, "client was referred to its result"),
        Outcome::Refused(_) => (true, "client was refused"),
    };
    chaos.note("client", &format!("of {file}: {counted}"));
    if !own {
        chaos.fail(format!("invariant 1: the client of {file} got {outcome:?}"));
    }
    chaos.with_truth(|truth| truth.count(counted));
}

/// Clients and operators live outside all processes.
#[expect(clippy::disallowed_methods, reason = "no process of the world is theirs")]
fn task<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    tokio::spawn(future)
}
