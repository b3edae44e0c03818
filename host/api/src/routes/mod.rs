//! The routes: each takes its request apart, asks the engine, and shapes the answer.

pub(crate) mod health;
pub(crate) mod leases;
pub(crate) mod nodes;
pub(crate) mod objects;
pub(crate) mod reclaim;
pub(crate) mod shapes;
pub(crate) mod status;
pub(crate) mod transfer;
