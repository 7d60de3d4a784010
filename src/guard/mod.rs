//! Rules that guard a pool: deadlines, back-off, retries.
