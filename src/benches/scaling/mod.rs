//! What `docs/SCALING.md` compares our policies with: other systems' (`peers`), what nobody can beat (`bound`), and
//! somebody who knows the future (`plan`).

pub mod bound;
pub mod peers;
pub mod plan;
