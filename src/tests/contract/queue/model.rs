//! Any sequence of calls does to a queue what it does to a model of twenty lines.

use super::{MOMENT, Place, RETENTION, VISIBILITY, depth, settings};
use crate::contract::{Backend, Hands, TODAY};
use crate::support::emulator;
use bellows::edge::Kind;
use bellows::edge::queue::{BATCH, Depth, MAX_DELAY, Queue, Receipt, Settings};
use bellows_core::time::Timestamp;
use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

const MOST_RECEIVES: u32 = 2;
/// Longer than any sequence lasts: what is in the dead letters stays there.
const FOREVER: Duration = Duration::from_hours(100_000);

/// Which of the two queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Main,
    Dead,
}

#[derive(Clone, Debug)]
enum Call {
    Send(Duration),
    Receive(Which, usize),
    /// Of the receipt with this number, modulo how many there are.
    Delete(usize),
    Extend(usize, Duration),
    Advance(Duration),
    SetBack(Duration),
}

#[derive(Clone, Debug)]
struct Message {
    queue: Which,
    sent_at: Timestamp,
    visible_at: Timestamp,
    receives: u32,
    lease: u32,
    deleted: bool,
}

/// What a call has to answer.
#[derive(Clone, Debug, PartialEq)]
enum Answer {
    Done,
    Expired,
    /// Either of the two.
    Any,
    /// Number in the order of sending, and receive count.
    Messages(Vec<(usize, u32)>),
}

/// `EXACT`: as on one machine. SQS deletes with old receipts, counts whole seconds, keeps no order among dead letters, and
/// has a clock of its own.
#[derive(Clone, Debug)]
struct Model<const EXACT: bool> {
    now: Timestamp,
    /// In the order of sending.
    messages: Vec<Message>,
    /// Queue it was received from, message, lease.
    receipts: Vec<(Which, usize, u32)>,
    answer: Answer,
}

impl Message {
    fn past(&self, now: Timestamp) -> bool {
        self.queue == Which::Main && self.sent_at < now.minus(RETENTION)
    }

    fn gone(&self, now: Timestamp) -> bool {
        self.deleted || self.past(now)
    }

    fn visible(&self, now: Timestamp) -> bool {
        self.visible_at <= now || self.visible_at > now.plus(MAX_DELAY)
    }
}

impl<const EXACT: bool> Model<EXACT> {
    fn receive(&mut self, queue: Which, max: usize) -> Answer {
        let now = self.now;
        let mut order: Vec<usize> = (0..self.messages.len()).collect();
        order.sort_by_key(|n| (self.messages[*n].sent_at, *n));
        let mut got = Vec::new();
        for number in order {
            let message = &mut self.messages[number];
            if message.queue != queue || message.gone(now) || !message.visible(now) || got.len() == max {
                continue;
            }
            if queue == Which::Main && message.receives >= MOST_RECEIVES {
                (message.queue, message.visible_at) = (Which::Dead, now);
                continue;
            }
            message.receives += 1;
            message.lease += 1;
            message.visible_at = now.plus(VISIBILITY);
            self.receipts.push((queue, number, message.lease));
            got.push((number, message.receives));
        }
        Answer::Messages(got)
    }

    /// The message of a receipt: none where it is gone, an error where the lease is lost.
    fn held(&mut self, receipt: usize) -> Option<Result<&mut Message, Answer>> {
        let (_, number, lease) = self.receipts[receipt % self.receipts.len()];
        let now = self.now;
        let message = Some(&mut self.messages[number]).filter(|message| !message.gone(now))?;
        Some(if message.lease == lease && message.visible_at > now { Ok(message) } else { Err(Answer::Expired) })
    }

    /// What SQS may do with any receipt it ever gave, and the emulator does.
    fn delete_with_any(&mut self, receipt: usize) -> Answer {
        let (from, number, _) = self.receipts[receipt % self.receipts.len()];
        let message = &mut self.messages[number];
        if message.gone(self.now) {
            Answer::Any
        } else if message.queue == from {
            message.deleted = true;
            Answer::Done
        } else {
            Answer::Expired
        }
    }

    fn depth(&self, queue: Which) -> Depth {
        let mut counted = depth(0, 0, 0);
        for message in self.messages.iter().filter(|m| m.queue == queue && !m.gone(self.now)) {
            match (message.visible(self.now), message.receives) {
                (true, _) => counted.visible += 1,
                (false, 0) => counted.delayed += 1,
                (false, _) => counted.in_flight += 1,
            }
        }
        counted
    }
}

impl<const EXACT: bool> ReferenceStateMachine for Model<EXACT> {
    type State = Self;
    type Transition = Call;

    fn init_state() -> BoxedStrategy<Self> {
        let empty = Model { now: Timestamp(TODAY), messages: vec![], receipts: vec![], answer: Answer::Done };
        Just(empty).boxed()
    }

    fn transitions(_: &Self) -> BoxedStrategy<Call> {
        let short = if EXACT { MOMENT } else { Duration::from_secs(1) };
        let visibilities = [Duration::ZERO, short, VISIBILITY, MAX_DELAY];
        let mut spans = vec![MOMENT, VISIBILITY.saturating_sub(MOMENT), VISIBILITY, MAX_DELAY];
        if EXACT {
            // the emulator takes no lease for more than 12 hours from the sending
            spans.extend([RETENTION / 2, RETENTION]);
        }
        let least = if EXACT { 1 } else { BATCH };
        prop_oneof![
            4 => prop::sample::select(visibilities.to_vec()).prop_map(Call::Send),
            6 => (1..=BATCH).prop_map(|max| Call::Receive(Which::Main, max)),
            2 => (least..=BATCH).prop_map(|max| Call::Receive(Which::Dead, max)),
            3 => any::<usize>().prop_map(Call::Delete),
            3 => (any::<usize>(), prop::sample::select(visibilities.to_vec())).prop_map(|(r, v)| Call::Extend(r, v)),
            4 => prop::sample::select(spans).prop_map(Call::Advance),
            1 => prop::sample::select(vec![MOMENT, VISIBILITY, MAX_DELAY * 4]).prop_map(Call::SetBack),
        ]
        .boxed()
    }

    fn preconditions(model: &Self, call: &Call) -> bool {
        match call {
            Call::Delete(_) | Call::Extend(..) => !model.receipts.is_empty(),
            // a message past its retention may or may not be there still when the clock is set back
            Call::SetBack(_) if !EXACT => false,
            Call::SetBack(_) => !model.messages.iter().any(|message| message.past(model.now)),
            _ => true,
        }
    }

    fn apply(mut model: Self, call: &Call) -> Self {
        let now = model.now;
        model.answer = match call {
            Call::Send(delay) => {
                let visible_at = now.plus(*delay);
                let queue = Which::Main;
                model.messages.push(Message { queue, sent_at: now, visible_at, receives: 0, lease: 0, deleted: false });
                Answer::Done
            }
            Call::Receive(queue, max) => model.receive(*queue, *max),
            Call::Delete(receipt) if !EXACT => model.delete_with_any(*receipt),
            Call::Delete(receipt) => match model.held(*receipt) {
                Some(Ok(message)) => {
                    message.deleted = true;
                    Answer::Done
                }
                Some(Err(lost)) => lost,
                None => Answer::Done,
            },
            Call::Extend(receipt, by) => match model.held(*receipt) {
                Some(Ok(message)) => {
                    message.visible_at = now.plus(*by);
                    Answer::Done
                }
                Some(Err(_)) | None => Answer::Expired,
            },
            Call::Advance(span) => {
                model.now = now.plus(*span);
                Answer::Done
            }
            Call::SetBack(span) => {
                model.now = now.minus(*span);
                Answer::Done
            }
        };
        model
    }
}

/// The real thing, with its receipts in the order of the model's.
struct Real {
    runtime: Runtime,
    hands: Hands,
    main: Queue,
    dead: Queue,
    receipts: Vec<(Which, Receipt)>,
    _place: Place,
}

impl Real {
    fn new(backend: Backend) -> Real {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        // a queue of SQS spawns its tasks
        let inside = runtime.enter();
        let hands = Hands::new();
        let place = Place::new(backend, &hands);
        let main = place.open(Settings { dead_letters: Some((MOST_RECEIVES, "dead".into())), ..settings("main") });
        let dead = place.open(Settings { retention: FOREVER, ..settings("dead") });
        drop(inside);
        Real { runtime, hands, main, dead, receipts: Vec::new(), _place: place }
    }

    fn queue(&self, which: Which) -> Queue {
        match which {
            Which::Main => self.main.clone(),
            Which::Dead => self.dead.clone(),
        }
    }

    fn call<const EXACT: bool>(&mut self, model: &Model<EXACT>, call: &Call) -> Answer {
        let answer = |result: bellows::edge::Result<()>| match result {
            Ok(()) => Answer::Done,
            Err(error) => {
                assert_eq!(error.kind, Kind::Expired, "{error}");
                Answer::Expired
            }
        };
        match call {
            Call::Send(delay) => {
                let body = (model.messages.len() - 1).to_string();
                answer(self.runtime.block_on(self.main.send_delayed(body, *delay)))
            }
            Call::Receive(which, max) => {
                let (queue, stop) = (self.queue(*which), CancellationToken::new());
                let mut got = self.runtime.block_on(queue.receive(*max, Duration::ZERO, &stop)).unwrap();
                if !EXACT && *which == Which::Dead {
                    got.sort_by_key(|delivery| delivery.body.parse::<usize>().unwrap());
                }
                self.receipts.extend(got.iter().map(|delivery| (*which, delivery.receipt.clone())));
                Answer::Messages(got.into_iter().map(|d| (d.body.parse().unwrap(), d.receive_count)).collect())
            }
            Call::Delete(number) => {
                let (which, receipt) = self.receipts[number % self.receipts.len()].clone();
                answer(self.runtime.block_on(self.queue(which).delete(&receipt)))
            }
            Call::Extend(number, by) => {
                let (which, receipt) = self.receipts[number % self.receipts.len()].clone();
                answer(self.runtime.block_on(self.queue(which).extend(&receipt, *by)))
            }
            Call::Advance(span) => {
                self.hands.advance(*span);
                Answer::Done
            }
            Call::SetBack(span) => {
                self.hands.set_back(*span);
                Answer::Done
            }
        }
    }

    fn check<const EXACT: bool>(&self, model: &Model<EXACT>) {
        for which in [Which::Main, Which::Dead] {
            let counted = self.runtime.block_on(self.queue(which).depth()).unwrap();
            assert_eq!(counted, model.depth(which), "depth of {which:?}");
        }
    }
}

/// One test a backend, since the macro makes the test from a type.
macro_rules! state_machine {
    ($name:ident, $backend:expr, $exact:literal) => {
        struct $name;

        impl StateMachineTest for $name {
            type SystemUnderTest = Real;
            type Reference = Model<$exact>;

            fn init_test(_: &Model<$exact>) -> Real {
                Real::new($backend)
            }

            fn apply(mut real: Real, model: &Model<$exact>, call: Call) -> Real {
                let answer = real.call(model, &call);
                if model.answer != Answer::Any {
                    assert_eq!(answer, model.answer, "{call:?}");
                }
                real
            }

            fn check_invariants(real: &Real, model: &Model<$exact>) {
                real.check(model);
            }
        }
    };
}

state_machine!(OnFiles, Backend::Local, true);
state_machine!(InMemory, Backend::Memory, true);
state_machine!(OnAws, Backend::Aws, false);

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest_state_machine::prop_state_machine! {
    #![proptest_config(cases(48))]
    #[test]
    fn on_files_it_behaves_as_the_model(sequential 1..60 => OnFiles);
}

proptest_state_machine::prop_state_machine! {
    #![proptest_config(cases(256))]
    #[test]
    fn in_memory_it_behaves_as_the_model(sequential 1..60 => InMemory);
}

proptest_state_machine::prop_state_machine! {
    #![proptest_config(cases(if emulator::is_here() { 12 } else { 0 }))]
    #[test]
    fn on_aws_it_behaves_as_the_model(sequential 1..40 => OnAws);
}
