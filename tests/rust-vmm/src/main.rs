// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Copyright the vhost-shmemd authors

//! A front-end on rust-vmm's `vhost` crate that tests a vhost-user back-end
//! with shared memory regions: `front-end SCENARIO SOCKET [ARGUMENT...]`.
//!
//! Each scenario is what a virtual machine monitor does, in its order, and
//! panics where the back-end does not do its part: exit status 0 means that all
//! went well, 101 that the text on standard error says what did not. The crate
//! waits for answers without a limit, so whoever does not end in time is
//! aborted with the scenario's name.

mod migrate;
mod packed;
mod ring;
mod scenarios;
mod shmem;
mod vmm;

use std::process::ExitCode;
use std::time::Duration;

/// How long a scenario may take as a whole.
const DEADLINE: Duration = Duration::from_secs(120);

fn watch_over(scenario: &str) {
    let scenario = scenario.to_string();
    std::thread::spawn(move || {
        std::thread::sleep(DEADLINE);
        eprintln!("{scenario}: not finished after {DEADLINE:?}: aborting");
        std::process::abort();
    });
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let known = args
        .first()
        .and_then(|name| scenarios::ALL.iter().find(|s| s.name == name));

    match (known, args.get(1)) {
        (Some(scenario), Some(socket)) if args.len() - 2 == scenario.arguments.len() => {
            watch_over(scenario.name);
            (scenario.run)(socket, &args[2..]);
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("usage: front-end SCENARIO SOCKET [ARGUMENT...]; scenarios:");
            for s in scenarios::ALL {
                eprintln!("  {} {}", s.name, s.arguments.join(" "));
            }
            ExitCode::from(2)
        }
    }
}
