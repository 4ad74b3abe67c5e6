//! Any sequence of calls does to a bucket what it does to a map.

use super::Place;
use crate::contract::Backend;
use crate::support::emulator;
use bellows::edge::Kind;
use bellows::edge::bucket::{Bucket, Etag, Put};
use bytes::Bytes;
use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::runtime::Runtime;

/// Names that sort on both sides of `/`, and one of a request, whose folder comes and goes.
const SEGMENTS: [&str; 5] = ["a", "a-", "a0", ".b", "0190b5a4-7c3e-4d6f-8a21-5e9c1f0d2b37"];

#[derive(Clone, Debug)]
enum Expected {
    Absent,
    /// The version that is there.
    Current,
    /// One that was seen at some time, modulo how many there are.
    Seen(usize),
}

#[derive(Clone, Debug)]
enum Call {
    Put(String),
    PutIfAbsent(String),
    Swap(String, Expected),
    Get(String),
    Delete(String),
    List { prefix: String, after: Option<String>, limit: usize },
}

#[derive(Clone, Debug, PartialEq)]
enum Answer {
    Done,
    Put(Put),
    Contents(Option<Bytes>),
    Keys(Vec<String>),
    Refused(Kind),
}

#[derive(Clone, Debug)]
struct Model<const FOLDERS: bool> {
    objects: BTreeMap<String, Bytes>,
    writes: usize,
    /// What was there each time somebody learned a version.
    seen: Vec<Bytes>,
    answer: Answer,
}

impl<const FOLDERS: bool> Model<FOLDERS> {
    /// Never the same contents twice: a backend may tell versions apart by their contents.
    fn next(&mut self) -> Bytes {
        self.writes += 1;
        contents(self.writes)
    }

    /// An object is no folder, where there are folders.
    fn refuses(&self, key: &str) -> bool {
        FOLDERS
            && self
                .objects
                .keys()
                .any(|other| other.starts_with(&format!("{key}/")) || key.starts_with(&format!("{other}/")))
    }

    fn expected(&self, key: &str, expected: &Expected) -> Option<Bytes> {
        match expected {
            Expected::Absent => None,
            Expected::Current => self.objects.get(key).cloned(),
            Expected::Seen(number) => self.seen.get(number % self.seen.len().max(1)).cloned(),
        }
    }

    fn learn(&mut self, key: &str) {
        self.seen.extend(self.objects.get(key).cloned());
    }
}

fn contents(write: usize) -> Bytes {
    Bytes::from(format!("contents of write {write}"))
}

fn key() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(SEGMENTS.to_vec()), 1..=3).prop_map(|segments| segments.join("/"))
}

fn expected() -> impl Strategy<Value = Expected> {
    prop_oneof![
        1 => Just(Expected::Absent),
        3 => Just(Expected::Current),
        2 => any::<usize>().prop_map(Expected::Seen),
    ]
}

impl<const FOLDERS: bool> ReferenceStateMachine for Model<FOLDERS> {
    type State = Self;
    type Transition = Call;

    fn init_state() -> BoxedStrategy<Self> {
        let empty = Model { objects: BTreeMap::new(), writes: 0, seen: vec![], answer: Answer::Done };
        Just(empty).boxed()
    }

    fn transitions(model: &Self) -> BoxedStrategy<Call> {
        // half of the calls meet an object that is there
        let there: Vec<String> = model.objects.keys().cloned().collect();
        let key = || {
            if there.is_empty() {
                key().boxed()
            } else {
                prop_oneof![key(), prop::sample::select(there.clone())].boxed()
            }
        };
        let prefix =
            (key(), any::<prop::sample::Index>()).prop_map(|(key, end)| key[..end.index(key.len() + 1)].into());
        prop_oneof![
            3 => key().prop_map(Call::Put),
            3 => key().prop_map(Call::PutIfAbsent),
            3 => (key(), expected()).prop_map(|(key, expected)| Call::Swap(key, expected)),
            3 => key().prop_map(Call::Get),
            3 => key().prop_map(Call::Delete),
            2 => (prefix, prop::option::of(key()), 0..6usize)
                .prop_map(|(prefix, after, limit)| Call::List { prefix, after, limit }),
        ]
        .boxed()
    }

    fn apply(mut model: Self, call: &Call) -> Self {
        model.answer = match call {
            Call::Put(key) => {
                let bytes = model.next();
                if model.refuses(key) {
                    Answer::Refused(Kind::Invalid)
                } else {
                    model.objects.insert(key.clone(), bytes);
                    Answer::Done
                }
            }
            Call::PutIfAbsent(key) => {
                let bytes = model.next();
                if model.objects.contains_key(key) {
                    Answer::Put(Put::Exists)
                } else if model.refuses(key) {
                    Answer::Refused(Kind::Invalid)
                } else {
                    model.objects.insert(key.clone(), bytes);
                    Answer::Put(Put::Created)
                }
            }
            Call::Swap(key, expected) => {
                let (bytes, expected) = (model.next(), model.expected(key, expected));
                if model.objects.get(key) != expected.as_ref() {
                    Answer::Refused(Kind::Conflict)
                } else if model.refuses(key) {
                    Answer::Refused(Kind::Invalid)
                } else {
                    model.objects.insert(key.clone(), bytes);
                    model.learn(key);
                    Answer::Done
                }
            }
            Call::Get(key) => {
                model.learn(key);
                Answer::Contents(model.objects.get(key).cloned())
            }
            Call::Delete(key) => {
                model.objects.remove(key);
                Answer::Done
            }
            Call::List { prefix, after, limit } => {
                let wanted = |key: &&String| key.starts_with(prefix) && after.as_ref().is_none_or(|after| *key > after);
                Answer::Keys(model.objects.keys().filter(wanted).take(*limit).cloned().collect())
            }
        };
        model
    }
}

/// The real thing, with the versions it has shown in the order of the model's.
struct Real {
    runtime: Runtime,
    bucket: Bucket,
    seen: Vec<Etag>,
    place: Place,
}

impl Real {
    fn new(backend: Backend) -> Real {
        let place = Place::new(backend);
        let bucket = place.open();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Real { runtime, bucket, seen: Vec::new(), place }
    }

    async fn version(&self, key: &str, expected: &Expected) -> Option<Etag> {
        match expected {
            Expected::Absent => None,
            Expected::Current => self.bucket.get(key).await.unwrap().map(|object| object.etag),
            Expected::Seen(number) => self.seen.get(number % self.seen.len().max(1)).cloned(),
        }
    }

    async fn call(&self, written: Bytes, call: &Call) -> (Answer, Option<Etag>) {
        let refused = |error: bellows::edge::Error| Answer::Refused(error.kind);
        let answer = match call {
            Call::Put(key) => self.bucket.put(key, written).await.map_or_else(refused, |()| Answer::Done),
            Call::PutIfAbsent(key) => self.bucket.put_if_absent(key, written).await.map_or_else(refused, Answer::Put),
            Call::Swap(key, expected) => {
                let expected = self.version(key, expected).await;
                match self.bucket.compare_and_swap(key, expected.as_ref(), written).await {
                    Ok(etag) => return (Answer::Done, Some(etag)),
                    Err(error) => refused(error),
                }
            }
            Call::Get(key) => match self.bucket.get(key).await.unwrap() {
                Some(object) => return (Answer::Contents(Some(object.bytes)), Some(object.etag)),
                None => Answer::Contents(None),
            },
            Call::Delete(key) => self.bucket.delete(key).await.map_or_else(refused, |()| Answer::Done),
            Call::List { prefix, after, limit } => {
                Answer::Keys(super::keys(&self.bucket, prefix, after.as_deref(), *limit).await)
            }
        };
        (answer, None)
    }

    fn apply<const FOLDERS: bool>(mut self, model: &Model<FOLDERS>, call: &Call) -> Real {
        // some time passes between any two calls
        self.place.hands.advance(Duration::from_millis(1));
        let (answer, seen) = self.runtime.block_on(self.call(contents(model.writes), call));
        assert_eq!(answer, model.answer, "{call:?}");
        self.seen.extend(seen);
        self
    }

    fn check<const FOLDERS: bool>(&self, model: &Model<FOLDERS>) {
        let listed = self.runtime.block_on(super::keys(&self.bucket, "", None, 1000));
        assert_eq!(listed, model.objects.keys().cloned().collect::<Vec<_>>());
    }
}

/// One test a backend, since the macro makes the test from a type.
macro_rules! state_machine {
    ($name:ident, $backend:expr, $folders:literal) => {
        struct $name;

        impl StateMachineTest for $name {
            type SystemUnderTest = Real;
            type Reference = Model<$folders>;

            fn init_test(_: &Model<$folders>) -> Real {
                Real::new($backend)
            }

            fn apply(real: Real, model: &Model<$folders>, call: Call) -> Real {
                real.apply(model, &call)
            }

            fn check_invariants(real: &Real, model: &Model<$folders>) {
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
