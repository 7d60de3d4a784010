//! The options of `httpipe map` alone.

use std::path::PathBuf;

use clap::Args;

/// What `map` asks, and where the answers go.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct MapOptions {
    /// The route that is asked, if there are several: its match text, as `GET /fib`, or its path
    #[arg(long, value_name = "ROUTE")]
    pub ask: Option<String>,
    /// The lines that are asked; without it, those of stdin
    #[arg(short, long, value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// Where the answers go, a line each, empty for a line that failed; without it, to stdout
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Where the failures go, as lines of JSON; without it, the first ten go to stderr
    #[arg(long, value_name = "FILE")]
    pub failed: Option<PathBuf>,
    /// A NUL ends each question and each answer, in place of a line end
    #[arg(short = '0', long)]
    pub null: bool,
    /// Write answers as they come, each after the place of its line, from 0, and a tab
    #[arg(long, conflicts_with = "resume")]
    pub unordered: bool,
    /// Go on where a run that was stopped had come to
    #[arg(long, requires = "output")]
    pub resume: bool,
    /// Do not show how far it is
    #[arg(short, long)]
    pub quiet: bool,
}
