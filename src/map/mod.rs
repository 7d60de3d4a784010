//! Asks a pool the items of a file, one after the other, and writes the answers in their order.
//!
//! Three threads share the work. One reads items while there is room (`budget`), the thread of the
//! pools asks them, and one writes what became of them. `order` brings the answers back into the
//! order of the items, and `journal` says how far the output has come, so that a run that was
//! stopped goes on there and ends with the same bytes.

mod budget;
mod files;
mod input;
mod journal;
mod meter;
mod order;
mod output;
mod run;

pub use files::NoOutput;
pub use input::{ItemInput, Separator};
pub use journal::Hash;
pub use output::{ItemOutput, OutputPlaces};
pub use run::{MapPlan, RunEnd, Showing, run};
