//! The verbs, one file each: what a caller asks for, made of the engine's steps. Verbs share readings of the state, but
//! none calls another to do its work: `serve`, which does what other processes ask, calls the steps inside them.

pub mod aggregate;
pub mod append;
pub mod audit;
pub mod audit_proof;
pub mod body;
pub mod classify;
pub mod close;
pub mod create;
pub mod erase;
pub mod expire;
pub mod export;
pub mod hold;
pub mod homes;
pub mod inspect;
pub mod maintain;
pub mod notices;
pub mod overview;
pub mod policy;
pub mod policy_explain;
pub mod receipt;
pub mod recover;
pub mod rectify;
pub mod refresh;
pub mod repair;
pub mod report;
pub mod request;
pub mod scan;
pub mod serve;
pub mod stats;
pub mod timeline;
pub mod train;
pub mod unshown;
pub mod upload;
pub mod verify;
