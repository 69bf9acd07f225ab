//! The App, its webhook and its installations, as GitHub sees them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use url::Url;

use super::report::{Check, Report};
use crate::config::{GitHubConfig, SectionResults};
use crate::github::{AppClient, AppInfo, GitHubConnection, GitHubError, WebhookDelivery};
use crate::install::manifest;
use crate::webhook::{WEBHOOK_PATH, subscribed_events};

/// Larger skews get a warning: GitHub accepts a minute.
const SKEW_SECONDS_WARNED: i64 = 20;
/// GitHub refuses our tokens with a larger skew.
const SKEW_SECONDS_MAX: i64 = 60;

pub(super) async fn check(sections: &SectionResults, report: &mut Report) {
    let Ok(config) = &sections.github else {
        return report.add(Check::skipped("GitHub App", "its configuration cannot be used"));
    };
    let Some(app) = &config.app else {
        return report.add(Check::failure(
            "GitHub App",
            "there are no credentials: no App is configured, and none was registered",
            "Start `mendwright serve`, open the page that it prints, and register an App; or configure [github].",
        ));
    };
    let connection = GitHubConnection {
        api_url: config.api_url.clone(),
        web_url: config.web_url.clone(),
        app_id: app.id,
        private_key_pem: app.private_key.clone(),
    };
    let client = match AppClient::new(&connection) {
        Ok(client) => client,
        Err(error) => {
            let remedy = "Configure the App's key again; its settings page makes a new one.";
            return report.add(Check::failure("private key", error.to_string(), remedy));
        }
    };
    report.add(Check::ok("private key", "it can be used, and other accounts cannot read it"));
    let Some(facts) = identity(&client, config, report).await else {
        let why = "GitHub did not accept the App's credentials";
        for name in ["permissions", "events", "webhook", "deliveries", "installations"] {
            report.add(Check::skipped(name, why));
        }
        return;
    };
    let settings = settings_page(config, &facts);
    app_permissions(&facts, &settings, report);
    app_events(&facts, &settings, report);
    let public_url = sections.public_url.as_ref();
    webhook(&client, public_url, &settings, report).await;
    deliveries(&client, &settings, report).await;
    installations(&client, config, &facts, report).await;
}

/// Checks that GitHub can be reached, has the same time, and accepts the App's credentials.
async fn identity(client: &AppClient, config: &GitHubConfig, report: &mut Report) -> Option<AppInfo> {
    let before = Timestamp::now();
    let (date, facts) = match client.app_info().await {
        Ok(answered) => answered,
        Err(error) => {
            let remedy = format!(
                "Check that this machine can reach {} (name, proxy, firewall, certificate), and that \
                 github.api_url is right.",
                config.api_url
            );
            report.add(Check::failure("GitHub", error_message(&error), remedy));
            return None;
        }
    };
    report.add(Check::ok("GitHub", format!("{} answers", config.api_url)));
    match date {
        Some(date) => report.add(clock_check(before.as_second() - date.as_second())),
        None => report.add(Check::skipped("clock", "GitHub's answer has no date")),
    }
    match facts {
        Ok(facts) => {
            report.add(Check::ok("GitHub App", format!("GitHub knows the App as {}", facts.slug)));
            Some(facts)
        }
        Err(error) => {
            let remedy = "Check that github.app_id and the private key belong to the same App, that the key was \
                          not deleted on GitHub, and that the clock is right.";
            report.add(Check::failure("GitHub App", error_message(&error), remedy));
            None
        }
    }
}

/// Judges the clock, which is `ahead` seconds ahead of GitHub's.
fn clock_check(ahead: i64) -> Check {
    let seconds = ahead.abs();
    let direction = if ahead > 0 { "ahead of" } else { "behind" };
    let what = format!("this machine's clock is {seconds} s {direction} GitHub's");
    let remedy = "Set the clock from the network: `timedatectl set-ntp true`, or chrony.";
    match seconds {
        0..=2 => Check::ok("clock", "it agrees with GitHub's"),
        3..=SKEW_SECONDS_WARNED => Check::ok("clock", what),
        _ if seconds <= SKEW_SECONDS_MAX => Check::warning("clock", what, remedy),
        _ => Check::failure("clock", format!("{what}; GitHub refuses its signatures"), remedy),
    }
}

fn settings_page(config: &GitHubConfig, facts: &AppInfo) -> String {
    let web = config.web_url.as_str().trim_end_matches('/');
    let organisation = facts.owner.as_ref().filter(|owner| owner.kind.as_deref() == Some("Organization"));
    match organisation.and_then(|owner| owner.login.as_deref()) {
        Some(login) => format!("{web}/organizations/{login}/settings/apps/{}", facts.slug),
        None => format!("{web}/settings/apps/{}", facts.slug),
    }
}

/// The needed permissions that are not granted.
fn missing_permissions(granted: &BTreeMap<String, String>) -> Vec<String> {
    let rank = |level: Option<&String>| match level.map(String::as_str) {
        Some("admin") => 3,
        Some("write") => 2,
        Some("read") => 1,
        Some(_) | None => 0,
    };
    let needed = manifest().default_permissions;
    let lacks = needed.iter().filter(|(name, level)| rank(granted.get(*name)) < rank(Some(level)));
    lacks.map(|(name, level)| format!("{name}: {level}")).collect()
}

fn app_permissions(facts: &AppInfo, settings: &str, report: &mut Report) {
    let missing = missing_permissions(&facts.permissions);
    if !missing.is_empty() {
        let what = format!("the App lacks {}", missing.join(", "));
        let remedy = format!(
            "Add them at {settings}/permissions; then accept them in each installation, as GitHub asks."
        );
        return report.add(Check::failure("permissions", what, remedy));
    }
    let needed = manifest().default_permissions;
    let more: Vec<&str> =
        facts.permissions.keys().filter(|name| !needed.contains_key(*name)).map(String::as_str).collect();
    if more.is_empty() {
        return report.add(Check::ok("permissions", "the App has exactly the permissions that it needs"));
    }
    let what = format!("the App has more permissions than it needs: {}", more.join(", "));
    report.add(Check::warning("permissions", what, format!("Remove them at {settings}/permissions.")));
}

fn app_events(facts: &AppInfo, settings: &str, report: &mut Report) {
    let missing: Vec<&str> = subscribed_events()
        .filter(|event| !facts.events.iter().any(|subscribed| subscribed == event))
        .collect();
    report.add(if missing.is_empty() {
        Check::ok(
            "events",
            format!("the App subscribes to {}", subscribed_events().collect::<Vec<_>>().join(", ")),
        )
    } else {
        let what = format!("the App does not subscribe to {}", missing.join(", "));
        Check::failure("events", what, format!("Subscribe to them at {settings}/permissions."))
    });
}

async fn webhook(client: &AppClient, public_url: Option<&Url>, settings: &str, report: &mut Report) {
    let hook = match client.webhook_config().await {
        Ok(hook) => hook,
        Err(error) => {
            let remedy = format!("See {settings}.");
            return report.add(Check::failure("webhook", error_message(&error), remedy));
        }
    };
    let url = hook.url.filter(|url| !url.is_empty());
    let Some(url) = url else {
        let remedy = format!("Set the webhook's address at {settings} to https://YOUR-HOST{WEBHOOK_PATH}.");
        return report.add(Check::failure("webhook", "the App has no webhook address", remedy));
    };
    let expected = public_url.map(|base| format!("{}{WEBHOOK_PATH}", base.as_str().trim_end_matches('/')));
    if hook.content_type.as_deref().is_some_and(|kind| kind != "json") {
        let remedy = format!("Set the content type at {settings} to application/json.");
        return report.add(Check::failure("webhook", "GitHub does not deliver JSON", remedy));
    }
    if hook.insecure_ssl == "1" {
        let remedy = format!("Enable SSL verification at {settings}.");
        report.add(Check::warning("webhook", "GitHub does not verify the service's certificate", remedy));
    }
    report.add(match expected {
        Some(expected) if expected != url => Check::failure(
            "webhook",
            format!("GitHub delivers to {url}, but server.public_url is for {expected}"),
            format!("Correct the address at {settings}, or server.public_url."),
        ),
        None if !url.trim_end_matches('/').ends_with(WEBHOOK_PATH) => Check::failure(
            "webhook",
            format!("GitHub delivers to {url}, but the service accepts deliveries at {WEBHOOK_PATH}"),
            format!("Correct the address at {settings}."),
        ),
        Some(_) | None => Check::ok("webhook", format!("GitHub delivers to {url}")),
    });
}

async fn deliveries(client: &AppClient, settings: &str, report: &mut Report) {
    let newest = match client.newest_deliveries().await {
        Ok(newest) => newest,
        Err(error) => {
            let remedy = "Without the delivery log, deliveries cannot be checked.";
            return report.add(Check::warning("deliveries", error_message(&error), remedy));
        }
    };
    report.add(deliveries_check(&newest, settings));
}

fn deliveries_check(newest: &[WebhookDelivery], settings: &str) -> Check {
    let Some(last) = newest.first() else {
        let remedy = "Add any label to an issue of an installed repository, and run this again.";
        return Check::warning("deliveries", "GitHub has not delivered anything yet", remedy);
    };
    // A delivery whose second attempt arrived did arrive.
    let arrived: Vec<&str> =
        newest.iter().filter(|delivery| delivery.arrived()).map(|delivery| delivery.guid.as_str()).collect();
    let mut lost: Vec<&str> =
        newest.iter().map(|delivery| delivery.guid.as_str()).filter(|guid| !arrived.contains(guid)).collect();
    lost.sort_unstable();
    lost.dedup();
    let lost = lost.len();
    let log = format!("{settings}/advanced");
    if !last.arrived() {
        let answer = match last.status_code {
            401 => "The webhook secrets differ: set the same one in github.webhook_secret and on the App."
                .to_owned(),
            0 | 502 | 504 => "GitHub could not reach the service: check that it runs, that its address is \
                              reachable from outside, and that the proxy in front of it forwards POST."
                .to_owned(),
            _ => "Look at the answer, and at the service's log at that time.".to_owned(),
        };
        let what = format!(
            "the newest delivery ({} at {}) failed: {} ({})",
            last.event, last.delivered_at, last.status_code, last.status
        );
        return Check::failure("deliveries", what, format!("{answer} The log is at {log}."));
    }
    if lost > 0 {
        let what =
            format!("the newest delivery arrived; {lost} of the last {} attempts never did", newest.len());
        return Check::warning("deliveries", what, format!("The reasons are at {log}."));
    }
    Check::ok("deliveries", format!("the last {} deliveries arrived", newest.len()))
}

async fn installations(client: &AppClient, config: &GitHubConfig, facts: &AppInfo, report: &mut Report) {
    let all = match client.installations().await {
        Ok(all) => all,
        Err(error) => {
            let remedy = "Check GitHub's status page, and run this again.";
            return report.add(Check::failure("installations", error_message(&error), remedy));
        }
    };
    if all.is_empty() {
        let page = format!("{}/apps/{}", config.web_url.as_str().trim_end_matches('/'), facts.slug);
        let remedy = format!("Install it on repositories: {page}/installations/new");
        return report.add(Check::warning(
            "installations",
            "the App is not installed on any account",
            remedy,
        ));
    }
    for installation in &all {
        let account = &installation.account;
        let missing = missing_permissions(&installation.permissions);
        report.add(if !config.rules.repository_filter.may_allow_account(account) {
            let remedy = "Add it to github.repositories, or ask its owner to uninstall the App.";
            Check::warning("installations", format!("{account} may not use this service"), remedy)
        } else if installation.suspended {
            let remedy = format!("Its owner can unsuspend it at {}.", installation.html_url);
            Check::warning("installations", format!("{account} has suspended the App"), remedy)
        } else if missing.is_empty() {
            Check::ok("installations", format!("{account} granted all needed permissions"))
        } else {
            let what = format!("{account} has not granted {}", missing.join(", "));
            let remedy = format!("An owner can accept them at {}.", installation.html_url);
            Check::failure("installations", what, remedy)
        });
    }
}

/// The error without its announcement of a retry: this command does not retry.
fn error_message(error: &GitHubError) -> String {
    match error {
        GitHubError::Unavailable { what, detail, .. } => format!("GitHub does not answer ({what}): {detail}"),
        GitHubError::NotFound { .. }
        | GitHubError::Forbidden { .. }
        | GitHubError::Rejected { .. }
        | GitHubError::ContainsSecret { .. } => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Finding;
    use super::*;

    fn describe(check: &Check) -> String {
        format!("{:?}: {} → {}", check.result, check.what, check.remedy.as_deref().unwrap_or("-"))
    }

    #[test]
    fn clock_skew_over_20_seconds_is_a_warning_and_over_60_a_failure() {
        for (ahead, finding) in [
            (0, Finding::Ok),
            (-20, Finding::Ok),
            (21, Finding::Warning),
            (-60, Finding::Warning),
            (61, Finding::Failure),
            (-3_600, Finding::Failure),
        ] {
            assert_eq!(clock_check(ahead).result, finding, "{ahead}");
        }
        insta::assert_snapshot!(describe(&clock_check(-300)), @"Failure: this machine's clock is 300 s behind GitHub's; GitHub refuses its signatures → Set the clock from the network: `timedatectl set-ntp true`, or chrony.");
    }

    fn delivery(id: u64, guid: &str, status_code: u16) -> WebhookDelivery {
        WebhookDelivery {
            id,
            guid: guid.into(),
            delivered_at: "2026-11-25T12:00:00Z".parse().unwrap(),
            redelivery: false,
            status: "in GitHub's words".into(),
            status_code,
            event: "issues".into(),
            action: None,
        }
    }

    #[test]
    fn delivery_counts_as_arrived_if_any_attempt_arrived() {
        let check = |list: &[WebhookDelivery]| describe(&deliveries_check(list, "SETTINGS"));
        let all = [
            check(&[]),
            check(&[delivery(3, "c", 202), delivery(2, "b", 202)]),
            check(&[delivery(3, "a", 202), delivery(2, "b", 200), delivery(1, "a", 502)]),
            check(&[delivery(3, "c", 202), delivery(2, "b", 502), delivery(1, "b", 504)]),
            check(&[delivery(3, "c", 401)]),
            check(&[delivery(3, "c", 502), delivery(2, "b", 202)]),
            check(&[delivery(3, "c", 400)]),
        ];
        insta::assert_snapshot!(all.join("\n"), @r"
        Warning: GitHub has not delivered anything yet → Add any label to an issue of an installed repository, and run this again.
        Ok: the last 2 deliveries arrived → -
        Ok: the last 3 deliveries arrived → -
        Warning: the newest delivery arrived; 1 of the last 3 attempts never did → The reasons are at SETTINGS/advanced.
        Failure: the newest delivery (issues at 2026-11-25T12:00:00Z) failed: 401 (in GitHub's words) → The webhook secrets differ: set the same one in github.webhook_secret and on the App. The log is at SETTINGS/advanced.
        Failure: the newest delivery (issues at 2026-11-25T12:00:00Z) failed: 502 (in GitHub's words) → GitHub could not reach the service: check that it runs, that its address is reachable from outside, and that the proxy in front of it forwards POST. The log is at SETTINGS/advanced.
        Failure: the newest delivery (issues at 2026-11-25T12:00:00Z) failed: 400 (in GitHub's words) → Look at the answer, and at the service's log at that time. The log is at SETTINGS/advanced.
        ");
    }

    #[test]
    fn higher_permission_level_includes_the_lower_ones() {
        let mut granted = manifest().default_permissions;
        assert_eq!(missing_permissions(&granted), [""; 0]);
        granted.insert("metadata".into(), "write".into());
        assert_eq!(missing_permissions(&granted), [""; 0]);
        granted.insert("issues".into(), "read".into());
        granted.remove("checks");
        assert_eq!(missing_permissions(&granted), ["checks: write", "issues: write"]);
    }
}
