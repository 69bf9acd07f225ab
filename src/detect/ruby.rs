//! Ruby: RSpec, rake, Rails, minitest; with Bundler if there is a Gemfile.

use super::tools::bundler;
use super::{Candidate, RootListing};

/// How Ruby projects are tested.
pub(super) fn detect(root: &RootListing) -> Option<Candidate> {
    let gemspec = || root.files_in("").find(|name| name.ends_with(".gemspec"));
    let sign = root.first(&["Gemfile", "Rakefile", ".rspec"]).or_else(gemspec)?;
    let has_gemfile = root.has_file("Gemfile");
    let bundled = if has_gemfile { "bundle exec " } else { "" };
    let mut candidate = Candidate::new("Ruby", sign, &["rspec", "rake", "bin/rails test", "minitest"]);
    if has_gemfile {
        let source = if root.has_file("Gemfile.lock") { "Gemfile.lock" } else { "Gemfile" };
        candidate = candidate
            .set_up_by(bundler(), "Gemfile")
            .set_up_by("bundle config set --global path ~/.gems && bundle install", source);
    }
    let specs = root.files().find(|path| path.starts_with("spec/") && path.ends_with("_spec.rb"));
    if let Some(why) = root.first(&[".rspec", "spec/spec_helper.rb"]).or(specs) {
        return Some(
            candidate.tested_by(format!("{bundled}rspec"), format!("{sign}; RSpec because of {why}")),
        );
    }
    if root.has_file("bin/rails") && root.is_directory("test") {
        return Some(candidate.tested_by("ruby bin/rails test", "bin/rails and the directory test"));
    }
    if root.text("Rakefile").is_some_and(has_test_task) {
        return Some(candidate.tested_by(format!("{bundled}rake test"), "the task test in Rakefile"));
    }
    let is_test = |path: &str| {
        let name = path.strip_prefix("test/").and_then(|name| name.strip_suffix(".rb"));
        name.is_some_and(|name| name.ends_with("_test") || name.starts_with("test_"))
    };
    if let Some(test) = root.files().find(|path| is_test(path)) {
        let command = format!(
            "{bundled}ruby -Ilib -Itest -e 'Dir[\"test/**/{{test_*,*_test}}.rb\"].sort.each {{ |f| require \"./#{{f}}\" }}'"
        );
        return Some(candidate.tested_by(command, format!("{test}; all test files in test, in one run")));
    }
    // Many projects of other kinds have a Gemfile only for their web pages.
    let why = "there are no specs, no task named test in a Rakefile and no test/*_test.rb";
    Some(candidate.untested(why, format!("{bundled}rake test")))
}

/// `Rake::TestTask.new(:test)` (or without a name), `task :test`, `task "test"`, `task test: …`.
fn has_test_task(rakefile: &str) -> bool {
    let code = rakefile.lines().map(|line| line.split('#').next().unwrap_or(line).trim());
    code.into_iter().any(|line| {
        let named = line.strip_prefix("task ").map(|rest| rest.trim_start_matches([':', '"', '\'', '(']));
        let is_named = named.is_some_and(|rest| {
            rest.strip_prefix("test").is_some_and(|rest| {
                !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':')
                    || rest.starts_with(": ")
            })
        });
        is_named
            || line.starts_with("Rake::TestTask.new do")
            || line.starts_with("Rake::TestTask.new {")
            || line.starts_with("Rake::TestTask.new(:test)")
            || line.starts_with("Rake::TestTask.new :test")
            || line == "Rake::TestTask.new"
    })
}
