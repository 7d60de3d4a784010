//! The gate with keys, strangers and guessers.
