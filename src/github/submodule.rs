//! Which repository of the same server a submodule's URL names. The URL is a stranger's text: nothing ever connects
//! to it. What is fetched is the server's own address with the name that is found here. A pure function.

use url::Url;

use crate::domain::RepositoryName;

/// Schemes under which one server gives out the same repositories.
const SCHEMES: [&str; 6] = ["https", "http", "ssh", "git", "git+ssh", "ssh+git"];

/// The repository that `url` names as a submodule of the repository at `parent`. `url` is absolute, relative to
/// `parent` as git reads it, or `user@host:path`. `Err` reads on after "because".
pub(super) fn repository_of_same_server(parent: &Url, url: &str) -> Result<RepositoryName, String> {
    let unreadable = || "its URL cannot be read".to_owned();
    if url.is_empty() || url.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\') {
        return Err(unreadable());
    }
    let own = segments(parent.path());
    let Some((_, prefix)) = own.split_last().and_then(|(_, rest)| rest.split_last()) else {
        return Err(unreadable());
    };
    let path = if url.starts_with("./") || url.starts_with("../") {
        below(prefix, &relative(&own, url)?)?
    } else if let Some((host, path)) = scp_like(url) {
        require_host(parent, host)?;
        segments(path).into_iter().map(str::to_owned).collect()
    } else {
        let parsed = Url::parse(url).map_err(|_| unreadable())?;
        if !SCHEMES.contains(&parsed.scheme()) {
            let scheme: String = parsed.scheme().chars().take(20).collect();
            return Err(format!("its URL has the scheme `{scheme}`, and not the one of this server"));
        }
        require_host(parent, parsed.host_str().unwrap_or_default())?;
        let is_http = matches!(parsed.scheme(), "http" | "https");
        if is_http && parsed.port() != parent.port() {
            return Err("its URL is on another port of this server".to_owned());
        }
        if parsed.query().is_some() || parsed.fragment().is_some() {
            return Err(unreadable());
        }
        let found: Vec<String> = segments(parsed.path()).into_iter().map(str::to_owned).collect();
        if is_http { below(prefix, &found)? } else { found }
    };
    let [owner, name] = path.as_slice() else { return Err(not_a_repository()) };
    let name = name.strip_suffix(".git").unwrap_or(name);
    format!("{owner}/{name}").parse().map_err(|_| not_a_repository())
}

/// The address of another repository of the server that has `parent`.
pub(super) fn address_of(parent: &Url, repository: &RepositoryName) -> Url {
    let mut path = segments(parent.path());
    path.truncate(path.len().saturating_sub(2));
    let file = format!("{}.git", repository.name());
    path.extend([repository.owner(), &file]);
    let mut url = parent.clone();
    url.set_path(&format!("/{}", path.join("/")));
    url
}

fn not_a_repository() -> String {
    "its URL does not end in the owner and the name of a repository of this server".to_owned()
}

fn segments(path: &str) -> Vec<&str> {
    path.split('/').filter(|part| !part.is_empty()).collect()
}

/// A URL that begins with `./` or `../`, as git reads it: from the parent's own URL (gitmodules(5)).
fn relative(own: &[&str], url: &str) -> Result<Vec<String>, String> {
    let mut path = own.to_vec();
    let mut rest = url;
    loop {
        if let Some(after) = rest.strip_prefix("../") {
            path.pop().ok_or("its URL leads above the root of this server")?;
            rest = after;
        } else if let Some(after) = rest.strip_prefix("./") {
            rest = after;
        } else {
            break;
        }
    }
    path.extend(segments(rest));
    Ok(path.into_iter().map(str::to_owned).collect())
}

/// What follows the path that all repositories of the server have.
fn below(prefix: &[&str], path: &[String]) -> Result<Vec<String>, String> {
    let (start, rest) = path.split_at(prefix.len().min(path.len()));
    match start == prefix {
        true => Ok(rest.to_vec()),
        false => Err(not_a_repository()),
    }
}

/// Host and path of `[user@]host:path`.
fn scp_like(url: &str) -> Option<(&str, &str)> {
    if url.contains("://") {
        return None;
    }
    let (host, path) = url.split_once(':')?;
    let host = host.rsplit('@').next().unwrap_or(host);
    (!host.contains('/')).then_some((host, path))
}

fn require_host(parent: &Url, host: &str) -> Result<(), String> {
    if parent.host_str().is_some_and(|own| own.eq_ignore_ascii_case(host)) {
        return Ok(());
    }
    let host: String = host.chars().take(100).collect();
    Err(match host.is_empty() {
        true => "its URL names no host".to_owned(),
        false => format!("it is on another host, `{host}`"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(parent: &str, url: &str) -> Result<String, String> {
        let parent = Url::parse(parent).unwrap();
        let name = repository_of_same_server(&parent, url)?;
        Ok(address_of(&parent, &name).to_string())
    }

    #[test]
    fn every_spelling_of_the_same_server_becomes_its_own_address() {
        let parent = "https://forge.example/octo/main.git";
        for url in [
            "https://forge.example/octo/sub.git",
            "https://forge.example/octo/sub",
            "https://FORGE.example/octo/sub/",
            "https://somebody:secret@forge.example/octo/sub.git",
            "http://forge.example/octo/sub.git",
            "git://forge.example/octo/sub.git",
            "git@forge.example:octo/sub.git",
            "forge.example:/octo/sub.git",
            "ssh://git@forge.example/octo/sub.git",
            "ssh://git@forge.example:2222/octo/sub.git",
            "git+ssh://git@forge.example/octo/sub",
            "../sub.git",
            "./../sub",
            "../../octo/sub.git",
        ] {
            assert_eq!(found(parent, url).as_deref(), Ok("https://forge.example/octo/sub.git"), "{url}");
        }
        assert_eq!(
            found("http://127.0.0.1:8080/git/octo/main", "../../acme/sub").as_deref(),
            Ok("http://127.0.0.1:8080/git/acme/sub.git")
        );
    }

    #[test]
    fn everything_else_is_refused_with_its_reason() {
        let parent = "https://forge.example/octo/main.git";
        let refused: Vec<String> = [
            "",
            "https://evil.example/octo/sub.git",
            "https://forge.example.evil.example/octo/sub.git",
            "https://forge.example@evil.example/octo/sub.git",
            "https://forge.example:8443/octo/sub.git",
            "git@evil.example:octo/sub.git",
            "ssh://forge.example@evil.example/octo/sub.git",
            "https://169.254.169.254/latest/meta-data",
            "https://forge.example\\@evil.example/octo/sub.git",
            "https://forge.example/octo/sub.git?at=https://evil.example",
            "https://forge.example/octo/group/sub.git",
            "https://forge.example/octo/%2e%2e",
            "https://forge.example/octo/..%2fsub",
            "../../../../sub.git",
            "../..",
            "../a/../sub.git",
            "./sub.git",
            "file:///etc",
            "ext::sh -c id",
            "ext::sh%20-c%20id",
            "/srv/git/sub.git",
            "sub.git",
            "--upload-pack=id",
            "git@forge.example:--upload-pack=id",
        ]
        .iter()
        .map(|url| format!("{url}: {}", found(parent, url).expect_err(url)))
        .collect();
        insta::assert_snapshot!(refused.join("\n"), @r#"
        : its URL cannot be read
        https://evil.example/octo/sub.git: it is on another host, `evil.example`
        https://forge.example.evil.example/octo/sub.git: it is on another host, `forge.example.evil.example`
        https://forge.example@evil.example/octo/sub.git: it is on another host, `evil.example`
        https://forge.example:8443/octo/sub.git: its URL is on another port of this server
        git@evil.example:octo/sub.git: it is on another host, `evil.example`
        ssh://forge.example@evil.example/octo/sub.git: it is on another host, `evil.example`
        https://169.254.169.254/latest/meta-data: it is on another host, `169.254.169.254`
        https://forge.example\@evil.example/octo/sub.git: its URL cannot be read
        https://forge.example/octo/sub.git?at=https://evil.example: its URL cannot be read
        https://forge.example/octo/group/sub.git: its URL does not end in the owner and the name of a repository of this server
        https://forge.example/octo/%2e%2e: its URL does not end in the owner and the name of a repository of this server
        https://forge.example/octo/..%2fsub: its URL does not end in the owner and the name of a repository of this server
        ../../../../sub.git: its URL leads above the root of this server
        ../..: its URL does not end in the owner and the name of a repository of this server
        ../a/../sub.git: its URL does not end in the owner and the name of a repository of this server
        ./sub.git: its URL does not end in the owner and the name of a repository of this server
        file:///etc: its URL has the scheme `file`, and not the one of this server
        ext::sh -c id: its URL cannot be read
        ext::sh%20-c%20id: it is on another host, `ext`
        /srv/git/sub.git: its URL cannot be read
        sub.git: its URL cannot be read
        --upload-pack=id: its URL cannot be read
        git@forge.example:--upload-pack=id: its URL does not end in the owner and the name of a repository of this server
        "#);
    }
}
