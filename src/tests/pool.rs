//! The pool follows the queue, to zero and back.

mod faults;
mod machines;
mod processes;
mod protocol;
mod simulated;
