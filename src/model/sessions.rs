//! Threads that own the sessions: each takes an image from the channel, decodes it, runs the model, answers.

use super::Installed;
use super::engine::{Runtime, Session};
use super::error::{Error, Result};
use super::store::sha256_of_bytes;
use crate::edge::engine::{Engine, Failure, Labelled, Receiver, Work};
use crate::edge::{Error as EdgeError, Kind};
use bellows_core::{answer, label};
use bellows_pixels::Limits;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use tokio::time::Instant;

/// How many classes an answer names, unless somebody asks for another number.
pub const TOP: usize = 5;

/// Loads sessions and gives them threads.
#[derive(Debug)]
pub struct Sessions {
    installed: Installed,
    runtime: Runtime,
    top: usize,
}

impl Sessions {
    /// Loads the library; no session yet.
    pub fn new(installed: Installed) -> Result<Sessions> {
        let runtime = Runtime::load(&installed.library)?;
        Ok(Sessions { installed, runtime, top: TOP })
    }

    /// How many classes an answer names.
    #[must_use]
    pub fn top(mut self, top: usize) -> Sessions {
        self.top = top.max(1);
        self
    }

    /// What answers say about model and engine.
    pub fn model(&self) -> answer::Model {
        let manifest = &self.installed.model.manifest;
        let (name, sha256) = (manifest.name.clone(), manifest.graph.sha256.to_string());
        answer::Model { name, sha256, engine: self.runtime.name.clone() }
    }

    /// Loads `sessions` sessions, one a thread, and runs each once: when this returns, the engine is warm. The threads
    /// end when the last handle is dropped.
    pub fn start(self, sessions: usize) -> Result<Engine> {
        let sessions = sessions.max(1);
        let (engine, receiver) = Engine::channel(sessions);
        let (shared, receiver) = (Arc::new(self), Arc::new(Mutex::new(receiver)));
        let (loaded, load) = mpsc::channel();
        for number in 0..sessions {
            let (shared, receiver, loaded) = (Arc::clone(&shared), Arc::clone(&receiver), loaded.clone());
            let thread = move || match shared.open() {
                Ok(session) => {
                    let _ = loaded.send(Ok(()));
                    drop(loaded);
                    shared.serve(session, &receiver);
                }
                Err(error) => {
                    let _ = loaded.send(Err(error));
                }
            };
            std::thread::Builder::new().name(format!("session-{number}")).spawn(thread).map_err(Error::Thread)?;
        }
        drop(loaded);
        load.iter().collect::<Result<Vec<()>>>()?;
        Ok(engine)
    }

    fn open(&self) -> Result<Session> {
        // A panic inside the library's wrapper must reach the caller as an error, too.
        catch_unwind(AssertUnwindSafe(|| Session::open(&self.runtime, &self.installed)))
            .unwrap_or_else(|_| Err(Error::Run("the engine panicked while it loaded the model".into())))
    }

    /// Takes work until the last handle is gone.
    fn serve(&self, mut session: Session, receiver: &Mutex<Receiver>) {
        loop {
            let work = receiver.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
            let Some(Work { image, reply }) = work else { return };
            if reply.is_closed() {
                continue;
            }
            let outcome = self.classify(&mut session, &image);
            let broken = matches!(outcome, Err(Failure::Engine(_)));
            let _ = reply.send(outcome);
            if broken {
                match self.open() {
                    Ok(fresh) => session = fresh,
                    Err(error) => {
                        tracing::error!(error = %error, "a session failed and cannot be loaded again: one less");
                        return;
                    }
                }
            }
        }
    }

    /// Classifies one image on the calling thread.
    fn classify(&self, session: &mut Session, image: &[u8]) -> std::result::Result<Labelled, Failure> {
        let sha256 = sha256_of_bytes(image);
        let start = Instant::now();
        let limits = Limits { max_pixels: self.installed.max_pixels };
        let tensor = match bellows_pixels::prepare(image, &self.installed.model.manifest.input, limits) {
            Ok(tensor) => tensor,
            Err(e) => {
                return Err(Failure::Image {
                    reason: e.reason(),
                    message: e.to_string(),
                    sha256,
                    busy: start.elapsed(),
                });
            }
        };
        let decoded = Instant::now();
        // A session that panicked is thrown away.
        let probabilities = catch_unwind(AssertUnwindSafe(|| session.run(&tensor)))
            .unwrap_or_else(|_| Err(Error::Run("it panicked".into())))
            .map_err(|e| {
                Failure::Engine(EdgeError::new(Kind::Unavailable, "engine.classify", e.to_string()).caused_by(e))
            })?;
        Ok(Labelled {
            predictions: label::predictions(&probabilities, &self.installed.model.labels, self.top),
            sha256,
            decode_ms: (decoded - start).as_secs_f64() * 1e3,
            infer_ms: decoded.elapsed().as_secs_f64() * 1e3,
        })
    }
}
