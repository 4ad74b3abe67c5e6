//! A bucket in memory, for the simulator and for tests.

use super::{Api, Etag, Meta, Object, Put};
use crate::edge::host::Clock;
use crate::edge::nature::{Event, Natural};
use crate::edge::wire::Wire;
use crate::edge::{Error, Kind, Result};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Cheap to clone; all clones see the same objects.
#[derive(Clone, Debug)]
pub struct Bucket {
    clock: Clock,
    name: &'static str,
    natural: Natural,
    state: Arc<Mutex<State>>,
    pub(super) wire: Wire,
}

#[derive(Debug, Default)]
struct State {
    writes: u64,
    objects: BTreeMap<String, Object>,
}

impl State {
    fn write(&mut self, clock: &Clock, key: &str, bytes: Bytes) -> Etag {
        self.writes += 1;
        let etag = Etag(self.writes.to_string());
        self.objects.insert(key.to_owned(), Object { bytes, etag: etag.clone(), modified: clock.now() });
        etag
    }

    /// What files cannot hold is refused here too.
    fn check_place(&self, operation: &'static str, key: &str) -> Result<()> {
        let folder = format!("{key}/");
        let mut below = self.objects.range::<str, _>((Bound::Included(folder.as_str()), Bound::Unbounded));
        let is_folder = below.next().is_some_and(|(other, _)| other.starts_with(&folder));
        let mut folders = key.match_indices('/').map(|(end, _)| &key[..end]);
        if is_folder || folders.any(|folder| self.objects.contains_key(folder)) {
            return Err(Error::new(Kind::Invalid, operation, format!("`{key}`: both an object and a folder")));
        }
        Ok(())
    }
}

impl Bucket {
    pub fn new(clock: Clock) -> Bucket {
        Bucket::within(clock, "", Natural::default())
    }

    /// A bucket in a simulated world, which knows it by this name.
    pub fn within(clock: Clock, name: &'static str, natural: Natural) -> Bucket {
        Bucket { clock, name, natural, state: Arc::default(), wire: Wire::default() }
    }

    /// The same bucket as another process reaches it.
    #[must_use]
    pub fn over(&self, wire: Wire) -> Bucket {
        Bucket { wire, ..self.clone() }
    }

    fn write(&self, state: &mut State, key: &str, bytes: Bytes) -> Etag {
        let existed = state.objects.contains_key(key);
        self.natural.saw(self.wire.who(), Event::Put { bucket: self.name, key, bytes: &bytes, existed });
        state.write(&self.clock, key, bytes)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Api for Bucket {
    async fn put(&self, key: &str, bytes: Bytes) -> Result<()> {
        let mut state = self.lock();
        state.check_place("bucket.put", key)?;
        self.write(&mut state, key, bytes);
        Ok(())
    }

    async fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<Put> {
        let mut state = self.lock();
        if state.objects.contains_key(key) {
            return Ok(Put::Exists);
        }
        state.check_place("bucket.put_if_absent", key)?;
        let text = str::from_utf8(&bytes).unwrap_or_default();
        let bytes = self.natural.written(self.wire.who(), key, text).map_or(bytes, Bytes::from);
        self.write(&mut state, key, bytes);
        Ok(Put::Created)
    }

    async fn compare_and_swap(&self, key: &str, expected: Option<&Etag>, bytes: Bytes) -> Result<Etag> {
        const OPERATION: &str = "bucket.compare_and_swap";
        let mut state = self.lock();
        if state.objects.get(key).map(|object| &object.etag) != expected {
            return Err(Error::new(Kind::Conflict, OPERATION, format!("`{key}` is not in the expected version")));
        }
        state.check_place(OPERATION, key)?;
        Ok(self.write(&mut state, key, bytes))
    }

    async fn get(&self, key: &str) -> Result<Option<Object>> {
        let object = self.lock().objects.get(key).cloned();
        let found = object.is_some();
        self.natural.saw(self.wire.who(), Event::Got { bucket: self.name, key, found });
        Ok(object)
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Meta>> {
        let state = self.lock();
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let listed = state.objects.range::<str, _>((from, Bound::Unbounded));
        let meta = |(key, object): (&String, &Object)| Meta {
            key: key.clone(),
            size: object.bytes.len() as u64,
            modified: object.modified,
        };
        Ok(listed.take_while(|(key, _)| key.starts_with(prefix)).take(limit).map(meta).collect())
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.lock().objects.remove(key);
        Ok(())
    }
}
