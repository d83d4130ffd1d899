//! What `doctor` looks at: settings, this machine, and whatever the settings name. A check is a function in a list; add one there.

mod configuration;
mod machine;

use model::{Clock, inspection::Inspection};

use crate::{config::Settings, wiring};

/// Looks at one thing, and says what it found.
type Check = fn(&Settings, &mut Inspection);

/// Looks at everything, beside a running server or without one.
pub async fn examine(settings: &Settings, clock: &dyn Clock) -> Vec<Inspection> {
    let mut inspections = vec![
        run("configuration", configuration::CHECKS, settings),
        run("machine", machine::CHECKS, settings),
    ];
    inspections.extend(wiring::inspect(settings, clock).await);
    inspections
}

fn run(part: &str, checks: &[Check], settings: &Settings) -> Inspection {
    let mut found = Inspection::new(part);
    for check in checks {
        check(settings, &mut found);
    }
    found
}
