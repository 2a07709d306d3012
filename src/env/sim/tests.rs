//! The simulation does what it says.

use super::*;
use crate::env::{create_dirs, publish_new, read_file, write_all_at};

#[test]
fn smoke() {
    let sim = Sim::new(1);
    let env = sim.env();
    create_dirs(&*env, Path::new("/a/b")).unwrap();
    publish_new(&*env, Path::new("/a/b/c"), b"hello").unwrap();
    sim.restart();
    assert_eq!(read_file(&*env, Path::new("/a/b/c"), 10).unwrap(), b"hello");
    let _ = write_all_at;
}
