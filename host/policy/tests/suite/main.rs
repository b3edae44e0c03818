//! The policy host with real components. They come from `target/policies`, built by
//! `cargo xtask policies`; `TENURE_TEST_POLICIES` names another folder.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "the parts that tests share, which clippy.toml frees only inside test functions"
)]

mod chains;
mod cookbook;
mod examples;
mod faults;
mod fixtures;
mod loading;
mod records;
mod restarts;
mod shadows;
mod swaps;
mod world;
