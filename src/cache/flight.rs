//! Callers with the same key share one run.
