//! The graph of files: an edge from each file to the files that define the names it uses. A name with few
//! definitions has more weight than one with many. Personalised PageRank runs over the graph.

use super::index::Index;
use super::language::SPECS;
use super::words::ByHash;

/// A name that is defined in more files has no edges.
const DEFINERS_MAX: usize = 24;
/// Most edges of one file.
const EDGES_MAX: usize = 200;
/// The share of each step that follows the graph. The rest returns to the seeds.
const FOLLOWED: f64 = 0.35;
const STEPS: usize = 20;

/// The definitions of all files.
pub struct Definers {
    /// Hash of a name and a file that defines it, sorted.
    pairs: Vec<(u32, u32)>,
    ranges: ByHash<(u32, u32)>,
}

impl Definers {
    pub fn of(index: &Index) -> Self {
        let mut pairs = Vec::new();
        for at in 0..index.files.len() {
            let Some(outline) = index.outline(at) else { continue };
            pairs.extend(outline.definitions.iter().map(|definition| (definition.hash, at as u32)));
        }
        pairs.sort_unstable();
        pairs.dedup();
        let mut ranges: ByHash<(u32, u32)> = ByHash::default();
        for (at, (hash, _)) in (0..).zip(&pairs) {
            ranges.entry(*hash).or_insert((at, at)).1 = at + 1;
        }
        Self { pairs, ranges }
    }

    /// The files that define a name, by its hash.
    pub fn files(&self, hash: u32) -> impl ExactSizeIterator<Item = usize> + '_ {
        let (from, to) = self.ranges.get(&hash).copied().unwrap_or((0, 0));
        self.pairs[from as usize..to as usize].iter().map(|(_, file)| *file as usize)
    }
}

/// The edges of all files, one file after the other.
pub struct Graph {
    begins: Vec<u32>,
    edges: Vec<(u32, f32)>,
}

impl Graph {
    /// `mentioned`: how much more a name counts that the text mentions, by its hash.
    pub fn of(index: &Index, definers: &Definers, mentioned: &ByHash<f64>) -> Self {
        let mut graph = Self { begins: vec![0], edges: Vec::new() };
        let mut to: Vec<f64> = vec![0.0; index.files.len()];
        let mut touched: Vec<usize> = Vec::new();
        for at in 0..index.files.len() {
            if let Some(outline) = index.outline(at) {
                let family = family(outline.language);
                for (hash, count) in &outline.used {
                    let files = definers.files(*hash);
                    let many = files.len();
                    if many == 0 || many > DEFINERS_MAX {
                        continue;
                    }
                    let weight = f64::from(*count).sqrt() / (many * many) as f64
                        * mentioned.get(hash).copied().unwrap_or(1.0);
                    for file in files {
                        let same_family = index
                            .outline(file)
                            .is_some_and(|other| super::graph::family(other.language) == family);
                        if file == at || !same_family {
                            continue;
                        }
                        if to[file] == 0.0 {
                            touched.push(file);
                        }
                        to[file] += weight;
                    }
                }
            }
            touched.sort_unstable_by(|a, b| to[*b].total_cmp(&to[*a]).then(a.cmp(b)));
            let sum: f64 = touched.iter().take(EDGES_MAX).map(|file| to[*file]).sum();
            let edges = touched.iter().take(EDGES_MAX);
            graph.edges.extend(edges.map(|file| (*file as u32, (to[*file] / sum) as f32)));
            graph.begins.push(graph.edges.len() as u32);
            for file in touched.drain(..) {
                to[file] = 0.0;
            }
        }
        graph
    }

    /// The distribution of a random walk that starts at `seeds` (shares of one), follows edges, and sometimes
    /// returns to the seeds.
    pub fn rank(&self, seeds: &[f64]) -> Vec<f64> {
        let mut rank = seeds.to_vec();
        let mut next = vec![0.0; seeds.len()];
        for _ in 0..STEPS {
            let mut lost = 0.0;
            next.fill(0.0);
            for (at, here) in rank.iter().enumerate().filter(|(_, here)| **here > 0.0) {
                let edges = &self.edges[self.begins[at] as usize..self.begins[at + 1] as usize];
                if edges.is_empty() {
                    lost += here;
                }
                for (file, share) in edges {
                    next[*file as usize] += here * f64::from(*share);
                }
            }
            for (next, seed) in next.iter_mut().zip(seeds) {
                *next = FOLLOWED * (*next + lost * seed) + (1.0 - FOLLOWED) * seed;
            }
            std::mem::swap(&mut rank, &mut next);
        }
        rank
    }
}

fn family(language: Option<u8>) -> Option<u8> {
    language.map(|number| SPECS[usize::from(number)].family)
}
