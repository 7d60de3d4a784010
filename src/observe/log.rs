//! The log: buffered lines on stderr, text or JSON, dropped and counted when stderr blocks.
