//! The model that answers, and how another takes its place without a restart.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use foretap::Result;
use foretap::bundle::Bundle;
use foretap::context::Task;
use foretap::predict::{Predictor as _, Scratch};
use foretap::router::{Router, Routing};

use crate::registry::Registry;

/// A version in memory.
pub struct LiveModel {
    /// Its name in answers: the version's number.
    pub name: Arc<str>,
    /// Its number.
    pub version: u32,
    /// Its bundle.
    pub bundle: Arc<Bundle>,
    /// What divides a question between its experts.
    pub router: Router,
    /// What answers are computed in: taken by one question at a time.
    scratches: Mutex<Vec<Scratch>>,
}

impl LiveModel {
    fn load(registry: &Registry, version: u32, routing: Routing) -> Result<Self> {
        let bundle = registry.bundle(version)?;
        let router = bundle.router(&bundle.vocabulary(), routing)?;
        let scratches = Mutex::new(vec![router.new_scratch()]);
        Ok(Self { name: version.to_string().into(), version, bundle: Arc::new(bundle), router, scratches })
    }

    /// What it answers.
    pub fn task(&self) -> Task {
        self.bundle.parts().task
    }

    /// Runs `ask` with a scratch of its own.
    pub fn with_scratch<T>(&self, ask: impl FnOnce(&Router, &mut Scratch) -> T) -> T {
        let lock = || self.scratches.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = lock().pop();
        let mut scratch = taken.unwrap_or_else(|| self.router.new_scratch());
        let answer = ask(&self.router, &mut scratch);
        lock().push(scratch);
        answer
    }
}

/// The live model, by the registry.
pub struct Models {
    registry: Registry,
    routing: Routing,
    live: RwLock<Arc<LiveModel>>,
}

impl Models {
    /// The registry's live model: checked, and asked its golden questions.
    ///
    /// # Errors
    /// None is live, or it is damaged.
    pub fn open(registry: Registry, routing: Routing) -> Result<Self> {
        let version = registry.live()?.map_or(1, |live| live.version);
        let live = RwLock::new(Arc::new(LiveModel::load(&registry, version, routing)?));
        Ok(Self { registry, routing, live })
    }

    /// The model that answers now.
    pub fn live(&self) -> Arc<LiveModel> {
        Arc::clone(&self.live.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The registry.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Takes over what the registry says is live: it is loaded and asked its golden questions aside, then a pointer is swapped.
    /// Returns the version where it is another one.
    ///
    /// # Errors
    /// It is damaged: the one before goes on answering.
    pub fn refresh(&self) -> Result<Option<u32>> {
        let Some(live) = self.registry.live()? else { return Ok(None) };
        if live.version == self.live().version {
            return Ok(None);
        }
        let new = Arc::new(LiveModel::load(&self.registry, live.version, self.routing)?);
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(Some(live.version))
    }
}
