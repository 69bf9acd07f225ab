//! Why somebody's request is refused, for people.

use crate::domain::{Login, Refusal};

/// Why the label that `login` set does not start work.
pub fn label_refused(login: &Login, refusal: Refusal) -> String {
    match refusal {
        Refusal::BotNotAllowed => format!(
            "the bot `{login}` set the label, and bots may not request work here; the operator can allow this one \
             in `github.bots_allowed`"
        ),
        Refusal::NoWriteAccess => format!(
            "`{login}` set the label without write access to this repository; somebody with write access can \
             remove it and set it again"
        ),
    }
}

/// Why the command that `login` gave is not carried out.
pub fn command_refused(login: &Login, refusal: Refusal) -> String {
    match refusal {
        Refusal::BotNotAllowed => format!(
            "the bot `{login}` may not use commands here; the operator can allow this one in `github.bots_allowed`"
        ),
        Refusal::NoWriteAccess => {
            format!("`{login}` needs write access to this repository to use commands")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_say_who_why_and_what_to_do() {
        let login: Login = "ada".parse().unwrap();
        let texts = [Refusal::BotNotAllowed, Refusal::NoWriteAccess]
            .map(|refusal| [label_refused(&login, refusal), command_refused(&login, refusal)].join("\n"));
        insta::assert_snapshot!(texts.join("\n"), @"
        the bot `ada` set the label, and bots may not request work here; the operator can allow this one in `github.bots_allowed`
        the bot `ada` may not use commands here; the operator can allow this one in `github.bots_allowed`
        `ada` set the label without write access to this repository; somebody with write access can remove it and set it again
        `ada` needs write access to this repository to use commands
        ");
    }
}
