//! What `docs/SCALING.md` compares our policies with: other systems' (`peers`), what nobody can beat (`bound`), and
//! somebody who knows the future (`plan`); and the same world for all of them (`world`, `lean`).

pub mod bound;
pub mod lean;
pub mod peers;
pub mod plan;
pub mod world;
