//! What the server knows of Python: which functions a target names, what their signatures say, and
//! how a worker is told to serve them.
//!
//! Pure. The interpreter is started by `worker`, chosen by `config`; the loop that runs in it is
//! `python/httpipe/_worker.py`.

mod boot;
mod description;
mod target;
mod types;

pub use boot::{DESCRIBE, FORK_SERVER, arguments, loop_text};
pub use description::{Description, Function, FunctionParameter, NotServable, read_description};
pub use target::PythonTarget;
pub use types::ScalarType;
