//! The integration tests: one program, the public API only.
#![allow(clippy::disallowed_methods)]

#[cfg(feature = "cli")]
mod cli;
