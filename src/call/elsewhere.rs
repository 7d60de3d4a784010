//! The cache that several servers share: asked by who begins a run, before the run.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::Request;
use crate::cache::redis::SharedCache;
use crate::cache::shared::{SharedKey, SharedScope};

/// The cache that several servers share, for one load of the configuration.
#[derive(Clone, Debug)]
pub struct Elsewhere {
    /// The cache.
    pub cache: Rc<SharedCache>,
    /// Where it keeps the answers of each route; `None`: the route keeps none.
    pub scopes: Arc<[Option<SharedScope>]>,
}

/// What a search is for.
pub(super) struct SearchTerms {
    pub(super) cache: Rc<SharedCache>,
    pub(super) key: SharedKey,
    /// How long another server's run is waited for: as long as the call could take here.
    pub(super) patience: Duration,
    /// Other servers may wait for the run of this call. Background work waits for a worker without
    /// other work, perhaps for long.
    pub(super) may_lead: bool,
}

impl Elsewhere {
    /// Returns how to search for the answer to a question; `None` if it is not to be searched for.
    pub(super) fn terms(
        &self,
        request: &Request,
        question: &bytes::Bytes,
        longest: Duration,
    ) -> Option<SearchTerms> {
        let scope = self.scopes.get(usize::from(request.call.route.0))?.as_ref()?;
        let key = scope.key(question)?;
        let may_lead = !request.call.class.is_background();
        Some(SearchTerms { cache: Rc::clone(&self.cache), key, patience: longest, may_lead })
    }
}
