//! A worker's complaints: into our log under its name, rate limited, the last lines kept.
