//! The texts and the HTML of the setup pages. Pure. Every value is escaped, and there is no script.

use std::fmt::Write;

use url::Url;

use super::manifest::{Manifest, event_meaning, permission_reason};

/// A page.
pub(super) struct Page {
    pub(super) title: &'static str,
    pub(super) body: String,
}

/// The style sheet, served next to the pages.
pub(super) const STYLE: &str = include_str!("style.css");

impl Page {
    /// The HTML. `style` is the address of the style sheet.
    pub(super) fn html(&self, style: &str) -> String {
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{title} · Mendwright</title>\n<link rel=\"stylesheet\" href=\"{style}\">\n</head>\n\
             <body>\n<main>\n<h1>{title}</h1>\n{body}</main>\n</body>\n</html>\n",
            title = escaped(self.title),
            style = escaped(style),
            body = self.body,
        )
    }
}

/// Text for HTML, also inside an attribute's double quotes.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

/// Text for HTML in which every address that is a word of its own is a link.
fn linked(text: &str) -> String {
    let words =
        text.split(' ').map(|word| match word.starts_with("https://") || word.starts_with("http://") {
            true => format!("<a href=\"{0}\">{0}</a>", escaped(word)),
            false => escaped(word),
        });
    words.collect::<Vec<_>>().join(" ")
}

/// The content of the first page.
pub(super) struct Start<'a> {
    pub(super) manifest: &'a Manifest,
    /// The address at GitHub that the form goes to, with `state`.
    pub(super) action: &'a Url,
    /// GitHub's pages.
    pub(super) web_url: &'a Url,
    pub(super) organisation: Option<&'a str>,
    /// The path of this page.
    pub(super) setup: &'a str,
    /// Where the credentials will be stored.
    pub(super) credentials: &'a str,
    pub(super) on_disk: bool,
    /// An earlier process died during a registration.
    pub(super) interrupted: bool,
}

pub(super) fn start(start: &Start<'_>) -> Page {
    let manifest = start.manifest;
    let json = serde_json::to_string(manifest).expect("a manifest has only string keys");
    let host = start.web_url.host_str().unwrap_or_default();
    let mut body = String::from(
        "<p>Mendwright works as a GitHub App of your own. This page registers it: one button here, one \
         confirmation on GitHub.</p>\n",
    );
    if start.interrupted {
        body.push_str(&interrupted(&apps_page(start.web_url, start.organisation)));
    }
    body.push_str("<h2>What it asks GitHub for</h2>\n<table>\n");
    body.push_str("<tr><th>Permission</th><th>Level</th><th>Why</th></tr>\n");
    for (name, level) in &manifest.default_permissions {
        let _ = writeln!(
            body,
            "<tr><td>{}</td><td>{}</td><td>{}</td></tr>",
            escaped(&name.replace('_', " ")),
            escaped(level),
            escaped(permission_reason(name))
        );
    }
    body.push_str("</table>\n");
    let events: Vec<String> = manifest
        .default_events
        .iter()
        .map(|event| format!("<code>{}</code> ({})", escaped(event), escaped(event_meaning(event))))
        .collect();
    let _ = writeln!(body, "<p>It receives these events: {}.</p>", events.join(", "));
    body.push_str(
        "<p class=\"soft\">It does not ask for workflows, administration or secrets, so GitHub itself refuses any \
         change of your workflows.</p>\n",
    );
    body.push_str("<h2>What happens next</h2>\n<ol>\n");
    let _ = writeln!(
        body,
        "<li>GitHub ({}) shows the new App. Its name must be unique: change it if it is taken, then \
         confirm.</li>",
        escaped(host)
    );
    body.push_str(&if start.on_disk {
        format!(
            "<li>GitHub sends you back here. Mendwright fetches the App's key and secrets and stores them in \
             <code>{}</code>, readable by its own account only (mode 0600).</li>\n",
            escaped(start.credentials)
        )
    } else {
        format!(
            "<li>GitHub sends you back here. Mendwright fetches the App's key and secrets and prints them to {}; \
             nothing is written to disk.</li>\n",
            escaped(start.credentials)
        )
    });
    body.push_str(
        "<li>You choose the repositories. The service starts to work without a restart.</li>\n</ol>\n",
    );
    let account = match start.organisation {
        Some(organisation) => format!("the organisation <strong>{}</strong>", escaped(organisation)),
        None => "your own account".to_owned(),
    };
    let _ = write!(
        body,
        "<div class=\"box\">\n<form method=\"post\" action=\"{}\">\n\
         <input type=\"hidden\" name=\"manifest\" value=\"{}\">\n\
         <p>The App will belong to {account}. GitHub will send events to <code>{}</code>.</p>\n\
         <p><button type=\"submit\" id=\"register\">Register on GitHub</button></p>\n</form>\n</div>\n",
        escaped(start.action.as_str()),
        escaped(&json),
        escaped(&manifest.hook_attributes.url),
    );
    let _ = write!(
        body,
        "<form method=\"get\" action=\"{}\" class=\"row\">\n\
         <label for=\"organisation\">For an organisation instead:</label>\n\
         <input type=\"text\" id=\"organisation\" name=\"organisation\" value=\"{}\" maxlength=\"39\" \
         placeholder=\"its name on GitHub\" autocomplete=\"off\">\n\
         <button type=\"submit\" class=\"plain\">Use it</button>\n</form>\n",
        escaped(start.setup),
        escaped(start.organisation.unwrap_or_default()),
    );
    body.push_str(
        "<p class=\"soft\">If GitHub says that the configuration is invalid: GitHub must be able to reach the event \
         address above (<code>server.public_url</code>), and only owners register an organisation's Apps.</p>\n",
    );
    Page { title: "Register Mendwright with GitHub", body }
}

/// The page of an account's Apps on GitHub.
pub(super) fn apps_page(web_url: &Url, organisation: Option<&str>) -> String {
    let base = web_url.as_str().trim_end_matches('/');
    match organisation {
        Some(organisation) => format!("{base}/organizations/{organisation}/settings/apps"),
        None => format!("{base}/settings/apps"),
    }
}

fn interrupted(apps: &str) -> String {
    format!(
        "<div class=\"box bad\">\n<h2>An earlier registration was interrupted</h2>\n\
         <p>The service ended after it had asked GitHub for an App's key and before it stored the key. GitHub shows \
         a key only once, so an App may exist whose key nobody has. Delete it at \
         <a href=\"{apps}\">{apps}</a>, then register it again below.</p>\n</div>\n",
        apps = escaped(apps)
    )
}

/// The content of the last page.
pub(super) struct Registered<'a> {
    pub(super) name: &'a str,
    pub(super) owner: &'a str,
    pub(super) html_url: &'a str,
    /// Where the credentials are.
    pub(super) credentials: &'a str,
    pub(super) on_disk: bool,
    /// The label that asks for work.
    pub(super) label: &'a str,
}

/// The page of a registered App.
pub(super) fn done(app: &Registered<'_>) -> Page {
    let install = format!("{}/installations/new", app.html_url.trim_end_matches('/'));
    let credentials = escaped(app.credentials);
    let credentials = if app.on_disk {
        format!(
            "Its key and secrets are in <code>{credentials}</code>. Back that file up: GitHub shows them only once."
        )
    } else {
        format!(
            "Its key and secrets were printed to {credentials}. Set them as environment variables for the next start: \
             GitHub shows them only once."
        )
    };
    let of = if app.owner.is_empty() { String::new() } else { format!(" of {}", escaped(app.owner)) };
    let body = format!(
        "<p>The App <strong>{name}</strong>{of} is registered, and the service works with it.</p>\n\
         <p class=\"soft\">{credentials}</p>\n\
         <div class=\"box\">\n<p>Last step: choose the repositories that it may work on.</p>\n\
         <p><a class=\"button\" id=\"install\" href=\"{install}\">Install it on repositories</a></p>\n</div>\n\
         <p>Then put the label <code>{label}</code> on an issue. <code>mendwright doctor</code> checks that everything \
         works.</p>\n",
        name = escaped(app.name),
        label = escaped(app.label),
        install = escaped(&install),
    );
    Page { title: "Mendwright is registered", body }
}

/// Why a registration did not work, and what to do.
pub(super) struct Problem {
    pub(super) title: &'static str,
    /// What happened.
    pub(super) what: String,
    /// What to do about it.
    pub(super) remedy: String,
    /// Whether the same address can be loaded again.
    pub(super) can_reload: bool,
    /// The path at which the registration can start over, if that can help.
    pub(super) restart_at: Option<String>,
}

pub(super) fn problem(problem: &Problem) -> Page {
    let mut body = format!(
        "<div class=\"box bad\">\n<p>{}</p>\n</div>\n<p>{}</p>\n",
        escaped(&problem.what),
        linked(&problem.remedy)
    );
    if problem.can_reload {
        body.push_str(
            "<p>Nothing is lost: then load this page again, within the hour that GitHub gives.</p>\n",
        );
    } else if let Some(path) = &problem.restart_at {
        let _ = writeln!(body, "<p><a href=\"{}\">Start over</a></p>", escaped(path));
    }
    Page { title: problem.title, body }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_in_a_page_are_escaped() {
        let page = problem(&Problem {
            title: "x",
            what: "<script>alert('1')</script>".into(),
            remedy: "\"&\" http://x/\"> x".into(),
            can_reload: false,
            restart_at: Some("/setup\"><b>".into()),
        });
        let html = page.html("/s");
        assert!(html.contains("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;"), "{html}");
        assert!(
            html.contains("&quot;&amp;&quot; <a href=\"http://x/&quot;&gt;\">http://x/&quot;&gt;</a> x"),
            "{html}"
        );
        assert!(html.contains("/setup&quot;&gt;&lt;b&gt;"), "{html}");
    }
}
