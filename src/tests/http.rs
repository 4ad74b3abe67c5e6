//! The HTTP contract, against the real program: every spelling, every error, connections of every kind.

mod admission;
mod batches;
mod connections;
mod contract;
mod drain;
mod full;
mod hostile;
mod hundred;
mod live;
mod memory;
mod names;
mod observed;
mod refusals;
mod spellings;
mod starting;
mod tokens;
