//! The table of keys against the reader: every key is read, and every example is valid.

use super::*;
use crate::config::key::{ConfigKey, DefaultValue, ValueType};
use crate::config::{configuration_example, configuration_page};

fn keys() -> impl Iterator<Item = &'static ConfigKey> {
    SECTIONS.iter().flat_map(|section| section.keys)
}

/// A value that can be used in a test: paths lead to the files of the [`ConfigDirectory`].
fn usable_example(key: &ConfigKey) -> &'static str {
    match key.name {
        "github.private_key_file" => "\"app.pem\"",
        "github.webhook_secret_file" => "\"secret\"",
        "github.webhook_secret_previous_file" => "\"secret\"",
        "model.api_key_file" => "\"key\"",
        "model.prices_file" => "\"prices.toml\"",
        _ => key.example,
    }
}

/// A file with every key but the secrets, which would contradict the files that hold them.
fn file_with_every_key(value: impl Fn(&ConfigKey) -> String) -> String {
    let mut text = String::new();
    for section in SECTIONS {
        text.push_str(&format!("[{}]\n", section.name));
        for key in section.keys.iter().filter(|key| !key.is_secret()) {
            text.push_str(&format!("{} = {}\n", key.name_in_section(), value(key)));
        }
    }
    text
}

fn directory_with_prices() -> ConfigDirectory {
    let directory = ConfigDirectory::new();
    let row = "[[price]]\nmodel = 'm'\ninput = 1\noutput = 2\ncache_read = 0.1\ncache_write = 1.25\n";
    directory.write("prices.toml", row, 0o600);
    directory
}

#[test]
fn every_example_of_the_table_is_valid() {
    let text = file_with_every_key(|key| usable_example(key).to_owned());
    let config = directory_with_prices().load(&text).unwrap();
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
    assert!(config.model.price.is_some_and(|price| price.long.is_some()));
}

#[test]
fn every_key_of_the_table_is_read() {
    for wrong in keys() {
        let value = |key: &ConfigKey| match key.name == wrong.name {
            true => "1979-05-27".to_owned(),
            false => usable_example(key).to_owned(),
        };
        let mut text = file_with_every_key(value);
        if wrong.is_secret() {
            let file = format!("{}_file", wrong.name_in_section());
            text = text
                .replace(&format!("\n{file} ="), &format!("\n{} = 1979-05-27 # ", wrong.name_in_section()));
        }
        let error = directory_with_prices().error_with(&text, &[]);
        assert!(error.contains(&format!(": {} = ", wrong.name)), "{} is not read: {error}", wrong.name);
    }
}

#[test]
fn every_default_of_the_table_is_a_valid_value() {
    let text = file_with_every_key(|key| match key.default {
        DefaultValue::Value(value) => value.to_owned(),
        DefaultValue::Unset(_) | DefaultValue::Required => usable_example(key).to_owned(),
    });
    directory_with_prices().load(&text).unwrap();
}

#[test]
fn number_outside_the_range_of_its_key_is_an_error_that_names_the_range() {
    for wrong in keys() {
        let (value, range) = match wrong.value {
            ValueType::Integer { max: u64::MAX, .. } => continue,
            ValueType::Integer { min, max } => ((max + 1).to_string(), format!("from {min} to {max}")),
            ValueType::Decimal { min, max } => (format!("{max}9.0"), format!("from {min} to {max}")),
            _ => continue,
        };
        let text = file_with_every_key(|key| match key.name == wrong.name {
            true => value.clone(),
            false => usable_example(key).to_owned(),
        });
        let error = directory_with_prices().error_with(&text, &[]);
        assert!(error.contains(wrong.name) && error.contains(&range), "{}: {error}", wrong.name);
    }
}

#[test]
fn example_file_and_page_contain_every_key() {
    let (example, page) = (configuration_example(), configuration_page());
    for key in keys() {
        assert!(example.contains(&format!("{} = {}", key.name_in_section(), key.example)), "{}", key.name);
        assert!(page.contains(&format!("| `{}` |", key.name_in_section())), "{}", key.name);
    }
    let directory = ConfigDirectory::new();
    directory.load(&example.replace("/etc/mendwright/model-key", "key")).unwrap();
}
