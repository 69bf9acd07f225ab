//! `mendwright config`: the keys of the configuration file, from the program's own table of them.

use anyhow::bail;
use clap::Args;

use crate::config::{
    configuration_example, configuration_listing, configuration_names, describe_configuration, nearest,
};

/// List the configuration keys, describe one, or print an example file
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  mendwright config\n  mendwright config sandbox.allowed_hosts\n  \
    mendwright config budget\n  mendwright config --example > mendwright.toml")]
pub struct ConfigArguments {
    /// A key or a section
    #[arg(value_name = "KEY|SECTION")]
    name: Option<String>,
    /// Print a commented configuration file with every key
    #[arg(long, conflicts_with = "name")]
    example: bool,
}

/// Run the command. Returns the exit code.
pub(super) fn run(arguments: &ConfigArguments) -> anyhow::Result<i32> {
    match &arguments.name {
        Some(name) => print!("{}", describe(name)?),
        None if arguments.example => print!("{}", configuration_example()),
        None => print!("{}", configuration_listing()),
    }
    Ok(0)
}

fn describe(name: &str) -> anyhow::Result<String> {
    if let Some(text) = describe_configuration(name) {
        return Ok(text);
    }
    match nearest(name, &configuration_names()) {
        Some(near) => bail!("there is no configuration key {name:?}; did you mean {near}?"),
        None => bail!("there is no configuration key {name:?}; `mendwright config` lists all keys"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_is_described_with_value_default_example_and_variable() {
        insta::assert_snapshot!(describe("budget.usd").unwrap(), @r"
        budget.usd
          US dollars that one job may spend. It has no effect if the model has no known price.
          value:       number, 0.01 to 10000
          default:     5.0
          example:     5.0
          environment: MENDWRIGHT_BUDGET_USD
        ");
    }

    #[test]
    fn unknown_key_is_an_error_that_names_the_nearest() {
        let all = ["budget.usb", "weather"].map(|name| describe(name).unwrap_err().to_string());
        insta::assert_snapshot!(all.join("\n"), @r#"
        there is no configuration key "budget.usb"; did you mean budget.usd?
        there is no configuration key "weather"; `mendwright config` lists all keys
        "#);
    }
}
