# `just` lists these; `just ci` is exactly what CI runs.

default:
    @just --list

# Every gate
ci:
    .ci/run

# Format the sources
fmt:
    cargo fmt --all

# Lints, warnings denied
lint:
    .ci/run format clippy

# All tests; `just test crash` those whose name has "crash"
test *filter:
    cargo test --all-features {{filter}}

# Races, under so many orders of threads each (`TENURE_REPLAY=FILE just schedules` for one that failed)
schedules count="300":
    TENURE_SCHEDULES={{count}} .ci/run schedules

# The library's documentation, warnings denied
doc:
    .ci/run docs

# Licences, sources and doubles of the dependencies
deny:
    .ci/run dependencies

# Every fuzz target for so many seconds
fuzz seconds="60":
    FUZZ_SECONDS={{seconds}} .ci/run fuzz

# Benchmarks, in full
bench *args:
    cargo bench --all-features {{args}}

# docs/benchmarks.md, tables and charts: comparison and curves, 35 minutes on a quiet machine; `just bench-docs --quick --corpus FILE`
bench-docs *args="--full":
    cd benches/rivals && cargo build --release
    cd benches/rivals && cargo run --release -- {{args}} --charts ../../docs/benchmarks --page ../../docs/benchmarks.md
    cd benches/rivals && cargo run --release -- --only scale --charts ../../docs/benchmarks --page ../../docs/benchmarks.md

# The main job on generated transcripts, start to end
demo:
    cargo run --release --features cli -- demo
