//! What `docs/SCALING.md` compares our policies with: other systems' (`peers`), and what nobody can beat (`bound`).

pub mod bound;
pub mod peers;
