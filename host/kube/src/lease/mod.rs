//! A lease as an object of the API: one per address, all of it in `spec`, its name being the address.

mod labels;
mod name;
mod spec;

pub(crate) use labels::{labels, selector};
pub(crate) use name::name;
pub use spec::{LeaseSpec, Unreadable};
