//! Listeners, connections and their limits: knows HTTP, knows nothing of workers.
