//! Who may ask for work. Pure: the caller asks GitHub who they are and what they may do, at the moment of the
//! decision.

use serde::{Deserialize, Serialize};

use super::Login;

/// What a person may do in a repository: GitHub's base permissions. For a custom role, the permission that it is
/// based on.
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

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// A bot that the operator has not allowed. It gets no reply to a command: two bots could reply to each
    /// other forever.
    BotNotAllowed,
    /// A person without write access to the repository.
    NoWriteAccess,
}

/// Whether `login` may ask for work, by a label, a command or an approval.
///
/// People need write access. Bots are refused unless the operator lists their login, because anybody may be
/// able to make a bot set a label. GitHub reports no collaborator permission for bots, so for a listed bot the
/// list alone decides.
///
/// # Errors
/// The reason for the refusal.
pub fn authorize(
    permission: Permission,
    login: &Login,
    is_bot: bool,
    bots_allowed: &[Login],
) -> Result<(), Refusal> {
    if is_bot || login.as_str().ends_with("[bot]") {
        return if is_listed(bots_allowed, login) { Ok(()) } else { Err(Refusal::BotNotAllowed) };
    }
    match permission {
        Permission::Write | Permission::Admin => Ok(()),
        Permission::None | Permission::Read => Err(Refusal::NoWriteAccess),
    }
}

/// Whether a bot is in the operator's list. GitHub ignores the case of logins.
pub fn is_listed(bots_allowed: &[Login], login: &Login) -> bool {
    bots_allowed.iter().any(|bot| bot.as_str().eq_ignore_ascii_case(login.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(text: &str) -> Login {
        text.parse().unwrap()
    }

    #[test]
    fn person_with_write_access_is_allowed_and_without_it_refused() {
        for (permission, expected) in [
            (Permission::None, Err(Refusal::NoWriteAccess)),
            (Permission::Read, Err(Refusal::NoWriteAccess)),
            (Permission::Write, Ok(())),
            (Permission::Admin, Ok(())),
        ] {
            assert_eq!(authorize(permission, &login("ada"), false, &[]), expected, "{permission:?}");
        }
    }

    #[test]
    fn bot_is_refused_with_any_permission_unless_it_is_listed() {
        for (name, is_bot) in [("renovate[bot]", true), ("renovate[bot]", false), ("machine", true)] {
            let decision = authorize(Permission::Admin, &login(name), is_bot, &[login("other[bot]")]);
            assert_eq!(decision, Err(Refusal::BotNotAllowed), "{name} {is_bot}");
        }
        let listed = [login("Renovate[bot]")];
        assert_eq!(authorize(Permission::None, &login("renovate[bot]"), true, &listed), Ok(()));
    }

    #[test]
    fn person_with_the_name_of_a_listed_bot_is_refused_without_write_access() {
        let decision = authorize(Permission::Read, &login("renovate"), false, &[login("renovate")]);
        assert_eq!(decision, Err(Refusal::NoWriteAccess));
    }
}
