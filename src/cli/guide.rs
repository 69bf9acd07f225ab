//! `mendwright guide`: prints the chapters of the guide, which are embedded in the program.

use std::io::{self, Write};

use anyhow::{Context, bail};
use clap::Args;
use include_dir::{Dir, include_dir};

use crate::config::nearest;

static GUIDE: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/src/guide");

/// The chapter that opens the guide: what `README.md` is to a directory.
const INDEX: &str = "README";

/// Print a chapter of the guide, or list all chapters
///
/// The chapters are Markdown, printed as they are. A topic is a chapter's name with or without its
/// directory.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  mendwright guide\n  mendwright guide configuration | less\n  \
                       mendwright guide operate/install")]
pub struct GuideArguments {
    /// The chapter, as the list names it
    #[arg(value_name = "TOPIC")]
    topic: Option<String>,
}

/// One chapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chapter {
    /// The path below `src/guide`, without `.md`: `operate/install`.
    pub topic: String,
    /// The first heading.
    pub title: String,
    /// The Markdown.
    pub text: &'static str,
}

/// Run the command. Returns the exit code.
pub(super) fn run(arguments: &GuideArguments) -> anyhow::Result<i32> {
    let text = match &arguments.topic {
        Some(topic) => find(&chapters(), topic)?.text.to_owned(),
        None => listing(&chapters()),
    };
    match io::stdout().lock().write_all(text.as_bytes()) {
        // The reader, such as `head`, has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(0),
        result => result.context("standard output cannot be written").map(|()| 0),
    }
}

/// Every chapter, in the order of their topics.
pub fn chapters() -> Vec<Chapter> {
    let mut chapters = Vec::new();
    collect(&GUIDE, &mut chapters);
    chapters.sort_by(|a, b| a.topic.cmp(&b.topic));
    chapters
}

fn collect(directory: &Dir<'static>, chapters: &mut Vec<Chapter>) {
    for file in directory.files() {
        let topic = file.path().to_str().and_then(|path| path.strip_suffix(".md"));
        let (Some(topic), Some(text)) = (topic, file.contents_utf8()) else { continue };
        let title = text.lines().find_map(|line| line.strip_prefix("# ")).unwrap_or(topic);
        chapters.push(Chapter { topic: topic.to_owned(), title: title.trim().to_owned(), text });
    }
    for inner in directory.dirs() {
        collect(inner, chapters);
    }
}

/// The topics and titles, by directory.
fn listing(chapters: &[Chapter]) -> String {
    let width = chapters.iter().map(|chapter| chapter.topic.len()).max().unwrap_or_default();
    let mut text = String::from("Print a chapter with: mendwright guide TOPIC\n\n");
    let mut directory = "";
    for Chapter { topic, title, .. } in chapters {
        let parent = topic.rsplit_once('/').map_or("", |(parent, _)| parent);
        if parent != directory {
            text.push('\n');
            directory = parent;
        }
        text.push_str(&format!("  {topic:<width$}  {title}\n"));
    }
    text
}

/// The chapter of a topic: by its whole name, or by the last part of it if only one chapter has it.
fn find<'c>(chapters: &'c [Chapter], topic: &str) -> anyhow::Result<&'c Chapter> {
    let wanted = topic.trim_matches('/').trim_end_matches(".md").to_lowercase();
    let matches = |chapter: &&Chapter| chapter.topic.to_lowercase() == wanted;
    if let Some(chapter) = chapters.iter().find(matches) {
        return Ok(chapter);
    }
    let directory_index = format!("{wanted}/{INDEX}").to_lowercase();
    if let Some(chapter) = chapters.iter().find(|chapter| chapter.topic.to_lowercase() == directory_index) {
        return Ok(chapter);
    }
    let named: Vec<&Chapter> =
        chapters.iter().filter(|chapter| last_part(&chapter.topic).to_lowercase() == wanted).collect();
    match named.as_slice() {
        [only] => return Ok(only),
        [] => {}
        several => {
            let topics: Vec<&str> = several.iter().map(|chapter| chapter.topic.as_str()).collect();
            bail!("{topic:?} names several chapters; write one of {}", topics.join(", "));
        }
    }
    let candidates: Vec<&str> =
        chapters.iter().flat_map(|chapter| [chapter.topic.as_str(), last_part(&chapter.topic)]).collect();
    match nearest(&wanted, &candidates) {
        Some(near) => bail!("the guide has no chapter {topic:?}; did you mean {near}?"),
        None => bail!("the guide has no chapter {topic:?}; `mendwright guide` lists all chapters"),
    }
}

fn last_part(topic: &str) -> &str {
    topic.rsplit_once('/').map_or(topic, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chapter(topic: &str, title: &str) -> Chapter {
        Chapter { topic: topic.to_owned(), title: title.to_owned(), text: "" }
    }

    fn samples() -> Vec<Chapter> {
        vec![
            chapter("README", "Guide"),
            chapter("operate/install", "Install"),
            chapter("operate/README", "Operate"),
            chapter("use/testing", "Tests of a repository"),
            chapter("develop/testing", "Testing Mendwright"),
        ]
    }

    #[test]
    fn topic_with_directory_or_alone_finds_its_chapter() {
        let chapters = samples();
        for topic in ["operate/install", "install", "Operate/Install.md", "/operate/install/"] {
            assert_eq!(find(&chapters, topic).unwrap().title, "Install", "{topic}");
        }
        assert_eq!(find(&chapters, "operate").unwrap().title, "Operate");
        assert_eq!(find(&chapters, "readme").unwrap().title, "Guide");
    }

    #[test]
    fn unknown_or_ambiguous_topic_is_an_error_that_names_the_nearest() {
        let chapters = samples();
        let error = |topic: &str| find(&chapters, topic).unwrap_err().to_string();
        let all = ["instal", "testing", "weather"].map(error);
        insta::assert_snapshot!(all.join("\n"), @r#"
        the guide has no chapter "instal"; did you mean install?
        "testing" names several chapters; write one of use/testing, develop/testing
        the guide has no chapter "weather"; `mendwright guide` lists all chapters
        "#);
    }

    #[test]
    fn listing_groups_topics_by_directory_with_their_titles() {
        insta::assert_snapshot!(listing(&samples()[..2]), @r"
        Print a chapter with: mendwright guide TOPIC

          README           Guide

          operate/install  Install
        ");
    }

    #[test]
    fn every_embedded_chapter_begins_with_its_title() {
        let chapters = chapters();
        assert!(chapters.iter().any(|chapter| chapter.topic == "reference/configuration"));
        for chapter in chapters {
            assert!(chapter.text.starts_with("# "), "{} does not begin with a heading", chapter.topic);
        }
    }
}
