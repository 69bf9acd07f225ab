//! `mendwright doctor`: checks everything that a label needs to become a draft pull request, and says what to
//! do about each fault. Changes nothing.

use std::path::PathBuf;

use clap::Args;

use self::report::{Check, Report};
use crate::config::{SectionResults, environment};
use crate::secrets::{SecretKind, register};

mod github;
mod machine;
mod model;
mod report;

/// Check that everything works, and say what to do about each fault
///
/// Checks configuration, GitHub App, webhook, installations, sandbox, model provider and disk. Changes
/// nothing, and costs nothing without --model-call. Exit code 0: nothing failed (there may be warnings); 1:
/// something failed.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Example:
  mendwright doctor --config /etc/mendwright/mendwright.toml

--json prints {\"ok\": bool, \"checks\": [{\"check\": name, \"result\": \"ok\" | \"warning\" | \"failure\"
| \"skipped\", \"what\": text, \"remedy\": text or null}]}. A name can occur several times.")]
pub struct DoctorArguments {
    /// The service's configuration file
    #[arg(long, value_name = "FILE", default_value = "mendwright.toml")]
    config: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Also ask the model for one word, which costs a fraction of a cent
    #[arg(long)]
    model_call: bool,
}

/// Run the command. Returns the exit code.
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
    let sections = match SectionResults::read(&arguments.config, environment()) {
        Ok(sections) => sections,
        Err(error) => {
            report.add(Check::failure(
                "configuration",
                error.to_string(),
                "Correct this, and run `mendwright doctor` again.",
            ));
            report.add(Check::skipped("everything else", "there is no usable configuration"));
            return;
        }
    };
    configuration(arguments, &sections, report);
    let data_dir = sections.data_dir.as_ref();
    github::check(&sections, report).await;
    match (&sections.sandbox, data_dir) {
        (Ok(sandbox), Some(data_dir)) => machine::sandbox(sandbox, data_dir, report).await,
        _ => report.add(Check::skipped("sandbox", "its configuration cannot be used")),
    }
    match &sections.model {
        Ok(config) => model::check(config, arguments.model_call, report).await,
        Err(_) => report.add(Check::skipped("model", "its configuration cannot be used")),
    }
    match data_dir {
        Some(data_dir) => machine::data_dir(data_dir, report),
        None => report.add(Check::skipped("data directory", "server.data_dir cannot be used")),
    }
}

fn configuration(arguments: &DoctorArguments, sections: &SectionResults, report: &mut Report) {
    let mut faults = sections.faults().peekable();
    if faults.peek().is_none() {
        report.add(Check::ok("configuration", format!("{} can be used", arguments.config.display())));
    }
    for fault in faults {
        report.add(Check::failure(
            "configuration",
            fault.to_string(),
            "Correct this; the service does not start without it.",
        ));
    }
    for warning in &sections.warnings {
        report.add(Check::warning("configuration", warning.clone(), "Correct this when you can."));
    }
    if let Ok(github) = &sections.github
        && let Some(app) = &github.app
    {
        register(SecretKind::AppKey, &app.private_key);
        register(SecretKind::WebhookSecret, &app.webhook_secret);
    }
    if let Ok(model) = &sections.model
        && let Some(key) = &model.api_key
    {
        register(SecretKind::ModelKey, key);
    }
}
