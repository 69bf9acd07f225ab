//! Searching file contents.

use std::fs::FileType;
use std::io;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::thread;

use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use grep_searcher::{BinaryDetection, Searcher, SearcherBuilder, Sink, SinkContext, SinkMatch};
use ignore::DirEntry;

use crate::tree::Tree;
use crate::walk::{files, glob, threads};
use mendwright_protocol::{Search, SearchHits, SearchLine};

/// Most matches, whatever is requested.
const MATCHES_MAX: u32 = 2_000;
/// Most lines of context on each side.
const CONTEXT_LINES_MAX: usize = 20;
/// Characters after which a line is cut.
const LINE_CHARS_MAX: usize = 500;
/// Most threads.
const THREADS_MAX: usize = 8;
/// Fewer files than this are not worth a thread.
const THREAD_FILES_MIN: usize = 32;
/// Longest line in memory. A file with a longer line is skipped.
const LINE_BYTES_MAX: usize = 64 << 20;

/// Searches.
pub fn search(tree: &Tree, request: &Search) -> Result<SearchHits, String> {
    let matcher = RegexMatcherBuilder::new()
        .fixed_strings(request.literal)
        .line_terminator(Some(b'\n'))
        .build(&request.pattern)
        .map_err(|e| format!("the pattern '{}' cannot be used: {e}", request.pattern))?;
    let context = (request.context_lines as usize).min(CONTEXT_LINES_MAX);
    let searcher = || {
        SearcherBuilder::new()
            .line_number(true)
            .before_context(context)
            .after_context(context)
            .heap_limit(Some(LINE_BYTES_MAX))
            .binary_detection(BinaryDetection::quit(0))
            .build()
    };
    let matches_max = request.matches_max.clamp(1, MATCHES_MAX);
    let glob = glob(request.glob.as_deref())?;
    let is_file = |entry: &DirEntry| entry.file_type().filter(FileType::is_file).map(drop);
    let mut paths = files(tree, &request.path, is_file)?;
    paths.retain(|(path, ())| glob.as_ref().is_none_or(|glob| glob.is_match(path)));
    let work = SearchWork {
        tree,
        paths,
        matcher: &matcher,
        matches_max,
        next: AtomicUsize::new(0),
        matches: AtomicU32::new(0),
    };
    let threads = threads(THREADS_MAX).min(work.paths.len() / THREAD_FILES_MIN + 1);
    let searched = thread::scope(|scope| {
        let others: Vec<_> = (1..threads)
            // If no thread can be started, the existing ones do all the work.
            .filter_map(|_| thread::Builder::new().spawn_scoped(scope, || work.some(searcher())).ok())
            .collect();
        let mut searched = work.some(searcher());
        for other in others {
            searched.extend(other.join().map_err(|_| "the search failed".to_owned())?);
        }
        Ok::<_, String>(searched)
    })?;
    Ok(work.in_order(searched, searcher()))
}

/// A search by several threads, each of which takes the next file.
struct SearchWork<'a> {
    tree: &'a Tree,
    paths: Vec<(String, ())>,
    matcher: &'a RegexMatcher,
    matches_max: u32,
    next: AtomicUsize,
    matches: AtomicU32,
}

impl SearchWork<'_> {
    /// Searches until no file is left, or there are more matches than requested. Files are taken in order, so all
    /// files before the last one have been searched.
    fn some(&self, mut searcher: Searcher) -> Vec<(usize, SearchHits)> {
        let mut searched = Vec::new();
        while self.matches.load(Ordering::Relaxed) <= self.matches_max {
            let at = self.next.fetch_add(1, Ordering::Relaxed);
            let Some((path, ())) = self.paths.get(at) else { break };
            let mut hits = SearchHits::default();
            search_file(self.tree, path, &mut searcher, self.matcher, &mut hits, self.matches_max);
            self.matches.fetch_add(hits.matches + u32::from(hits.more), Ordering::Relaxed);
            searched.push((at, hits));
        }
        searched
    }

    /// The hits as one thread would have found them.
    fn in_order(&self, mut searched: Vec<(usize, SearchHits)>, mut searcher: Searcher) -> SearchHits {
        searched.sort_unstable_by_key(|(at, _)| *at);
        let mut hits = SearchHits::default();
        for (at, file) in searched {
            if file.more || hits.matches + file.matches > self.matches_max {
                let path = &self.paths[at].0;
                search_file(self.tree, path, &mut searcher, self.matcher, &mut hits, self.matches_max);
            } else {
                hits.matches += file.matches;
                hits.files_searched += file.files_searched;
                hits.lines.extend(file.lines);
            }
            if hits.more {
                break;
            }
        }
        hits
    }
}

fn search_file(
    tree: &Tree,
    path: &str,
    searcher: &mut Searcher,
    matcher: &RegexMatcher,
    hits: &mut SearchHits,
    matches_max: u32,
) {
    let Ok(open) = tree.open_file(path) else { return };
    hits.files_searched += 1;
    let before = (hits.lines.len(), hits.matches);
    let mut sink = Lines { path: path.to_owned(), hits: &mut *hits, matches_max, binary: false };
    let outcome = searcher.search_file(matcher, &open.file, &mut sink);
    if sink.binary || outcome.is_err() {
        hits.lines.truncate(before.0);
        hits.matches = before.1;
        hits.more = false;
    }
}

struct Lines<'a> {
    path: String,
    hits: &'a mut SearchHits,
    matches_max: u32,
    binary: bool,
}

impl Lines<'_> {
    fn take(&mut self, number: Option<u64>, bytes: &[u8], is_match: bool) {
        for (number, line) in (number.unwrap_or(0)..).zip(bytes.split_inclusive(|byte| *byte == b'\n')) {
            let line = &line[..line.len().min(LINE_CHARS_MAX * 4)];
            let text = String::from_utf8_lossy(line);
            let text = text.trim_end_matches(['\r', '\n']).chars().take(LINE_CHARS_MAX).collect();
            self.hits.lines.push(SearchLine { path: self.path.clone(), line: number, text, is_match });
        }
    }
}

impl Sink for Lines<'_> {
    type Error = io::Error;

    fn matched(&mut self, _: &Searcher, found: &SinkMatch<'_>) -> Result<bool, io::Error> {
        if self.hits.matches == self.matches_max {
            self.hits.more = true;
            return Ok(false);
        }
        self.hits.matches += 1;
        self.take(found.line_number(), found.bytes(), true);
        Ok(true)
    }

    fn context(&mut self, _: &Searcher, context: &SinkContext<'_>) -> Result<bool, io::Error> {
        self.take(context.line_number(), context.bytes(), false);
        Ok(true)
    }

    fn binary_data(&mut self, _: &Searcher, _: u64) -> Result<bool, io::Error> {
        self.binary = true;
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn request(pattern: &str) -> Search {
        Search {
            pattern: pattern.to_owned(),
            literal: false,
            path: String::new(),
            glob: None,
            context_lines: 0,
            matches_max: 100,
        }
    }

    fn tree() -> (tempfile::TempDir, Tree) {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("a.txt"), "one\ntwo (2)\nthree\r\n").unwrap();
        fs::write(directory.path().join("b.py"), "two\ntwo\n").unwrap();
        fs::write(directory.path().join("c.bin"), b"two\n\0two\n").unwrap();
        let tree = Tree::open(directory.path()).unwrap();
        (directory, tree)
    }

    #[test]
    fn matches_come_with_their_context_and_binary_files_do_not() {
        let (_directory, tree) = tree();
        let hits = search(&tree, &Search { context_lines: 1, ..request("^tw.") }).unwrap();
        let lines: Vec<String> = hits
            .lines
            .iter()
            .map(|l| format!("{}{}{} {}", l.path, if l.is_match { ':' } else { '-' }, l.line, l.text))
            .collect();
        assert_eq!(lines, ["a.txt-1 one", "a.txt:2 two (2)", "a.txt-3 three", "b.py:1 two", "b.py:2 two"]);
        assert_eq!((hits.matches, hits.more, hits.files_searched), (3, false, 3));
    }

    #[test]
    fn literal_glob_and_bound_are_kept() {
        let (_directory, tree) = tree();
        assert_eq!(search(&tree, &Search { literal: true, ..request("(2)") }).unwrap().matches, 1);
        let hits = search(&tree, &Search { glob: Some("*.py".to_owned()), matches_max: 1, ..request("two") });
        let hits = hits.unwrap();
        assert_eq!((hits.matches, hits.more, hits.lines.len()), (1, true, 1));
        assert_eq!(search(&tree, &Search { path: "a.txt".to_owned(), ..request("t") }).unwrap().matches, 2);
        let refused = search(&tree, &request("(")).unwrap_err();
        assert!(refused.starts_with("the pattern '(' cannot be used: "), "{refused}");
    }
}
