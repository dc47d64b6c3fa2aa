//! Who may come, as it was written.

use super::{ConditionsFile, Written};
use crate::config::report::{At, Place};

/// `allow` and `deny`.
#[derive(Debug, Default)]
pub(crate) struct ListsFile {
    pub(crate) allow: Written<Vec<At<String>>>,
    pub(crate) deny: Written<Vec<At<String>>>,
}

/// `allow_if` and `deny_if`.
#[derive(Debug, Default)]
pub(crate) struct RulesFile {
    pub(crate) allow_if: Written<Vec<RuleFile>>,
    pub(crate) deny_if: Written<Vec<RuleFile>>,
}

/// One entry of them.
#[derive(Debug)]
pub(crate) struct RuleFile {
    pub(crate) place: Place,
    pub(crate) conditions: ConditionsFile,
    /// A part of it is a problem that is already reported.
    pub(crate) broken: bool,
}
