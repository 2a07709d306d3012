//! `tenure repair`: what is damaged and can be made anew from what is whole. Changes nothing without `--apply`.

use serde_json::{Value, json};
use tenure::report::{Remedy, Repair, RepairStep};

use crate::cli::{Format, Global, RepairArgs};
use crate::failure::{Exit, Failure, Outcome};
use crate::output::{Output, Sheet};
use crate::words::{counted, harmless};

pub fn repair(global: &Global, args: &RepairArgs, output: &mut Output) -> Outcome {
    let repair = match args.apply {
        true => {
            let store = global.open(output)?;
            let repair = store.repair(true)?;
            store.close()?;
            repair
        }
        false => global.open_read_only()?.repair(false)?,
    };
    print(&repair, output)?;
    let done = |step: &RepairStep| repair.applied && is_mendable(step);
    Ok(if repair.plan.iter().all(done) { Exit::Done } else { Exit::Findings })
}

/// Whether a repair does something about it.
fn is_mendable(step: &RepairStep) -> bool {
    matches!(step.remedy, Remedy::Rebuild | Remedy::GiveUp)
}

fn step_as_json(step: &RepairStep, applied: bool) -> Value {
    let (remedy, why) = match &step.remedy {
        Remedy::Rebuild => ("rebuild", None),
        Remedy::GiveUp => ("give up", None),
        Remedy::Restore(why) => ("restore", Some(why)),
    };
    json!({
        "file": step.damage.path,
        "offset": step.damage.offset,
        "what": step.damage.what,
        "class": step.partition.stream.class(),
        "jurisdiction": step.partition.stream.jurisdiction(),
        "window": step.partition.window.to_string(),
        "records": step.records,
        "remedy": remedy,
        "why": why,
        "repaired": applied && is_mendable(step),
    })
}

/// What a damaged file can be made anew from.
fn made_from(step: &RepairStep) -> &'static str {
    let name = step.damage.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    match name.starts_with("dictionary-") {
        true => "make anew from another window's copy",
        false => "make anew from its frames",
    }
}

fn print(repair: &Repair, output: &mut Output) -> Result<(), Failure> {
    if output.format() != Format::Table {
        let plan: Vec<Value> = repair.plan.iter().map(|step| step_as_json(step, repair.applied)).collect();
        return match output.format() {
            Format::Csv => output.csv(&["file", "offset", "records", "remedy", "repaired", "what", "why"], &plan),
            _ => output.document(json!({ "applied": repair.applied, "plan": plan })),
        };
    }
    if repair.plan.is_empty() {
        return output.line("every segment is whole: nothing to repair");
    }
    let mut sheet = Sheet::new(&["file", "records#", "remedy", "what"]);
    let mut mendable = 0;
    for step in &repair.plan {
        let (remedy, what) = match &step.remedy {
            Remedy::Rebuild => {
                mendable += 1;
                (if repair.applied { "made anew" } else { made_from(step) }, &step.damage.what)
            }
            Remedy::GiveUp => (if repair.applied { "given up" } else { "give up" }, &step.damage.what),
            Remedy::Restore(why) => ("bring it back from a copy", why),
        };
        let path = step.damage.path.display().to_string();
        sheet.row([path, step.records.to_string(), remedy.into(), harmless(what)]);
    }
    output.sheet(&sheet)?;
    let segments = counted(mendable, "segment");
    match (mendable, repair.applied) {
        (0, _) => Ok(()),
        (_, true) => output.line(format_args!("\n{segments} made anew; check with: tenure verify --deep")),
        (_, false) => output.line(format_args!("\n{segments} can be made anew; do it with: tenure repair --apply")),
    }
}
