//! Perl: prove.

use super::tools::{PERL_LIBRARY, cpanm};
use super::{Candidate, RootListing};

/// How Perl projects are tested.
pub(super) fn detect(root: &RootListing) -> Option<Candidate> {
    let sign = root.first(&["Makefile.PL", "Build.PL", "cpanfile", "dist.ini"]);
    let test = root.files().find(|path| path.starts_with("t/") && path.ends_with(".t"));
    let mut candidate = Candidate::new("Perl", sign.or(test)?, &["prove", "make test", "./Build test"]);
    if let Some(file) = root.first(&["cpanfile", "Makefile.PL", "Build.PL"]) {
        let install = format!("cpanm --notest --local-lib {PERL_LIBRARY} --installdeps .");
        candidate = candidate.set_up_by(cpanm(), file).set_up_by(install, file);
    }
    let Some(test) = test else {
        return Some(candidate.untested("there is no t/*.t", "prove -lr t"));
    };
    let library = match candidate.setup.is_empty() {
        true => String::new(),
        false => format!("PERL5LIB={PERL_LIBRARY}/lib/perl5 "),
    };
    let compiled = root.files_in("").any(|name| name.ends_with(".xs"));
    Some(match (compiled, root.has_file("Makefile.PL")) {
        (true, true) => candidate.tested_by(
            format!("{library}perl Makefile.PL && make && {library}prove -br t"),
            "Makefile.PL; it has compiled parts (*.xs), so it is built first",
        ),
        (true, false) | (false, true | false) => candidate.tested_by(format!("{library}prove -lr t"), test),
    })
}
