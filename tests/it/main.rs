//! Tests of the whole, through the public interface only: one program, a file per subject.
//!
//! Most run on the simulated machine, so they need the feature `simulation`; those of the program need `cli`
//! (`cargo test --all-features` has both).

#[cfg(feature = "simulation")]
mod access;
#[cfg(feature = "simulation")]
mod aftermath;
#[cfg(feature = "simulation")]
mod asked_again;
#[cfg(feature = "simulation")]
mod asking;
#[cfg(feature = "simulation")]
mod attacker;
mod beside;
#[cfg(feature = "simulation")]
mod between;
#[cfg(feature = "simulation")]
mod canary;
#[cfg(feature = "cli")]
mod cli;
#[cfg(feature = "simulation")]
mod crash;
#[cfg(feature = "simulation")]
mod crash_letting_go;
mod custodian;
#[cfg(feature = "simulation")]
mod damage;
#[cfg(feature = "simulation")]
mod dictionary;
#[cfg(feature = "simulation")]
mod duty;
#[cfg(feature = "simulation")]
mod holding;
#[cfg(feature = "simulation")]
mod large;
mod law;
#[cfg(feature = "simulation")]
mod letting_go;
#[cfg(feature = "simulation")]
mod life;
#[cfg(feature = "simulation")]
mod machine;
#[cfg(feature = "simulation")]
mod model;
#[cfg(feature = "simulation")]
mod oracle;
#[cfg(feature = "simulation")]
mod proof;
mod races;
#[cfg(feature = "simulation")]
mod reopened;
#[cfg(feature = "simulation")]
mod repair;
#[cfg(feature = "simulation")]
mod restore;
#[cfg(feature = "simulation")]
mod rights;
#[cfg(feature = "simulation")]
mod scans;
#[cfg(feature = "simulation")]
mod scene;
#[cfg(feature = "simulation")]
mod states;
#[cfg(feature = "simulation")]
mod telling;
#[cfg(feature = "simulation")]
mod threads;
#[cfg(feature = "simulation")]
mod vault;
#[cfg(feature = "simulation")]
mod verbs;
#[cfg(feature = "simulation")]
mod verifying;
#[cfg(feature = "simulation")]
mod watched;
