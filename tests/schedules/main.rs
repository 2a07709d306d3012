//! Races, with the order of threads chosen by shuttle: the real engine on the simulated machine, a few threads, and at
//! every lock, counter and call to the machine a choice of who goes on. Empty unless built with `--cfg shuttle`.
//!
//! `just schedules` runs every scenario under some schedules, `just schedules 10000` under so many each: half of them
//! chosen at random, half by PCT, which runs threads by priority and changes it at 2 or 4 places. Each schedule begins
//! with a copy of the same disk and the same randomness, and ends with a power cut or a clean close and another opening.
//!
//! A failure writes its schedule to a file and names it. Played again, alone: `TENURE_REPLAY=FILE just schedules`.
#![cfg(all(shuttle, feature = "simulation"))]

mod commit;
mod erase;
mod expire;
mod hold;
mod keys;
mod scene;
mod states;
