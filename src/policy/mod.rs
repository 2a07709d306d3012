//! Rules; pure.
