//! `mendwright doctor`: everything that has to work for a label to become a draft pull request,
//! tried one after the other, with what to do about each fault. Changes nothing.

use std::path::PathBuf;

use clap::Args;

use self::report::{Check, Report};
use crate::config::{Readings, environment};
use crate::secrets::{SecretKind, register};

mod github;
mod machine;
mod model;
mod report;

/// Checks configuration, GitHub App, webhook, installations, sandbox, model provider and disk, and
/// says what to do about each fault. Changes nothing, and costs nothing without --model-call. Exit
/// code 0: nothing failed (there may be warnings); 1: something did.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Example:
  mendwright doctor --config /etc/mendwright/mendwright.toml

--json answers with {\"ok\": bool, \"checks\": [{\"check\": name, \"result\": \"ok\" | \"warning\" | \"failure\"
| \"skipped\", \"what\": text, \"remedy\": text or null}]}. A name may come several times.")]
pub struct DoctorArguments {
    /// The configuration that the service has.
    #[arg(long, value_name = "FILE", default_value = "mendwright.toml")]
    config: PathBuf,
    /// Answers with one object of JSON on standard output.
    #[arg(long)]
    json: bool,
    /// Also ask the model for one word, which costs a fraction of a cent.
    #[arg(long)]
    model_call: bool,
}

/// Runs the command. Answers with the exit code.
pub(super) async fn run(arguments: DoctorArguments) -> anyhow::Result<i32> {
    let mut report = Report::default();
    examine(&arguments, &mut report).await;
    if arguments.json {
        println!("{}", report.json());
    } else {
        print!("{}", report.text());
    }
    Ok(i32::from(!report.is_ok()))
}

async fn examine(arguments: &DoctorArguments, report: &mut Report) {
    let readings = match Readings::of(&arguments.config, environment()) {
        Ok(readings) => readings,
        Err(error) => {
            report.add(Check::failure(
                "configuration",
                error.to_string(),
                "Correct that, and run this again.",
            ));
            report.add(Check::skipped("everything else", "there is no configuration to go by"));
            return;
        }
    };
    configuration(arguments, &readings, report);
    let data_dir = readings.data_dir.as_ref().ok();
    github::check(&readings, report).await;
    match (&readings.sandbox, data_dir) {
        (Ok(sandbox), Some(data_dir)) => machine::sandbox(sandbox, data_dir, report).await,
        _ => report.add(Check::skipped("sandbox", "its configuration cannot be used")),
    }
    match &readings.model {
        Ok(config) => model::check(config, arguments.model_call, report).await,
        Err(_) => report.add(Check::skipped("model", "its configuration cannot be used")),
    }
    match data_dir {
        Some(data_dir) => machine::data_dir(data_dir, report),
        None => report.add(Check::skipped("data directory", "server.data_dir cannot be used")),
    }
}

fn configuration(arguments: &DoctorArguments, readings: &Readings, report: &mut Report) {
    let faults = [
        readings.data_dir.as_ref().err(),
        readings.public_url.as_ref().err(),
        readings.github.as_ref().err(),
        readings.model.as_ref().err(),
        readings.sandbox.as_ref().err(),
        readings.rest.as_ref().err(),
    ];
    let mut faults = faults.into_iter().flatten().peekable();
    if faults.peek().is_none() {
        report.add(Check::ok("configuration", format!("{} can be used", arguments.config.display())));
    }
    for fault in faults {
        report.add(Check::failure(
            "configuration",
            fault.to_string(),
            "Correct that; the service does not start.",
        ));
    }
    for warning in &readings.warnings {
        report.add(Check::warning("configuration", warning.clone(), "Correct that when you can."));
    }
    if let Ok(github) = &readings.github
        && let Some(app) = &github.app
    {
        register(SecretKind::AppKey, &app.private_key);
        register(SecretKind::WebhookSecret, &app.webhook_secret);
    }
    if let Ok(model) = &readings.model
        && let Some(key) = &model.api_key
    {
        register(SecretKind::ModelKey, key);
    }
}
