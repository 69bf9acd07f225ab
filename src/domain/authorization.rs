//! Decides whether the person who put the label on may ask for work. Pure: who they are and what
//! they may do is asked of GitHub by the caller, at the moment of the decision.

use serde::{Deserialize, Serialize};

use super::Login;

/// What a person may do. GitHub's own base permissions; custom roles are answered by the base
/// they build on.
/// Source: docs.github.com, "Get repository permissions for a user".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Permission {
    /// Nothing, or not a collaborator.
    None,
    /// `read`, and `triage`, which GitHub folds into it.
    Read,
    /// `write`, and `maintain`, which GitHub folds into it.
    Write,
    /// `admin`
    Admin,
}

/// The decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authorization {
    /// Work may start.
    Allowed,
    /// It may not.
    Refused {
        /// Why, in words that can be published.
        reason: String,
    },
}

/// People need write access. Bots are refused unless the operator lists their login, because
/// anybody may be able to make a bot put a label on; for a listed bot GitHub knows no collaborator
/// permission, so the list alone decides.
pub fn authorize(
    permission: Permission,
    labeller: &Login,
    labeller_is_bot: bool,
    bots_allowed: &[Login],
) -> Authorization {
    let is_bot = labeller_is_bot || labeller.as_str().ends_with("[bot]");
    if is_bot {
        let listed = bots_allowed.iter().any(|bot| bot.as_str().eq_ignore_ascii_case(labeller.as_str()));
        if listed {
            return Authorization::Allowed;
        }
        return Authorization::Refused {
            reason: format!(
                "the label was put on by the bot `{labeller}`, and bots may not ask for work here; \
                 the operator can allow this one in `github.bots_allowed`"
            ),
        };
    }
    match permission {
        Permission::Write | Permission::Admin => Authorization::Allowed,
        Permission::None | Permission::Read => Authorization::Refused {
            reason: format!(
                "the label was put on by `{labeller}`, who has no write access to this repository; \
                 somebody with write access can take it off and put it on again"
            ),
        },
    }
}

/// The same for a command in a comment: `Err` is why not, in words that can be published; `Ok(false)`
/// is a bot that nobody listed, which gets no answer, or two bots could talk to each other for ever.
pub fn authorize_command(
    permission: Permission,
    by: &Login,
    is_bot: bool,
    bots_allowed: &[Login],
) -> Result<bool, String> {
    match authorize(permission, by, is_bot, bots_allowed) {
        Authorization::Allowed => Ok(true),
        Authorization::Refused { .. } if is_bot || by.as_str().ends_with("[bot]") => Ok(false),
        Authorization::Refused { .. } => Err(format!(
            "`{by}` has no write access to this repository, and only who has may give commands here"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(text: &str) -> Login {
        text.parse().unwrap()
    }

    #[test]
    fn people_with_write_access_are_allowed_and_nobody_else() {
        for (permission, allowed) in [
            (Permission::None, false),
            (Permission::Read, false),
            (Permission::Write, true),
            (Permission::Admin, true),
        ] {
            let decision = authorize(permission, &login("ada"), false, &[]);
            assert_eq!(decision == Authorization::Allowed, allowed, "{permission:?}");
        }
    }

    #[test]
    fn a_bot_is_refused_whatever_it_may_do_unless_it_is_listed() {
        let renovate = login("renovate[bot]");
        for (name, is_bot) in [("renovate[bot]", true), ("renovate[bot]", false), ("machine", true)] {
            let decision = authorize(Permission::Admin, &login(name), is_bot, &[login("other[bot]")]);
            assert_ne!(decision, Authorization::Allowed, "{name} {is_bot}");
        }
        let listed = [login("Renovate[bot]")];
        assert_eq!(authorize(Permission::None, &renovate, true, &listed), Authorization::Allowed);
    }

    #[test]
    fn a_listed_bots_name_gives_a_person_nothing() {
        let decision = authorize(Permission::Read, &login("renovate"), false, &[login("renovate")]);
        assert_ne!(decision, Authorization::Allowed);
    }

    #[test]
    fn refusals_say_who_why_and_what_to_do() {
        let reason = |decision| match decision {
            Authorization::Refused { reason } => reason,
            Authorization::Allowed => panic!("allowed"),
        };
        insta::assert_snapshot!(reason(authorize(Permission::Read, &login("ada"), false, &[])), @"the label was put on by `ada`, who has no write access to this repository; somebody with write access can take it off and put it on again");
        insta::assert_snapshot!(reason(authorize(Permission::None, &login("x[bot]"), true, &[])), @"the label was put on by the bot `x[bot]`, and bots may not ask for work here; the operator can allow this one in `github.bots_allowed`");
    }
}
