//! The use cases: add, del, check, gc, status, reclaim. It sees ports only (skeleton).
mod requests;
pub use requests::{AddAnswer, AddRequest, CheckRequest, DelRequest, GcAnswer, GcRequest, Granted, NetnsRef, SpoolInstant};
