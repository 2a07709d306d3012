//! Tests of the whole, through the public interface only: one program, a file per subject.
//!
//! They run on the simulated machine, so they need the feature `simulation` (`cargo test --all-features`).

#![cfg(feature = "simulation")]

mod crash;
mod damage;
mod letting_go;
mod machine;
mod scene;
mod threads;
mod vault;
mod verbs;
