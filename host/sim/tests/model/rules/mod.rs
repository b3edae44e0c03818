//! What DESIGN allows: the only place that knows its rules.
//!
//! ```text
//! rows      each change of a row must have a reason: a call under way, a proof, a rest that has ended
//! looks     what sweeps have seen so far: a row is taken back neither too early nor too late
//! answers   an answer says what became durable; a refusal must have had to
//! line      whoever waits is served in turn
//! counts    what the pools count is what the rows say
//! ```

pub mod answers;
pub mod counts;
pub mod line;
pub mod looks;
pub mod rows;
