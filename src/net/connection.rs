//! Serves one connection.
