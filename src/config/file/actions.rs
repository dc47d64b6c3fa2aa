//! What a `[[route]]` does beside forwarding, as it was written. Types only.

use std::time::Duration;

use super::Written;
use crate::config::report::{At, Place};

/// Keys of a `[[route]]` that are about more than matching and forwarding.
#[derive(Debug, Default)]
pub(crate) struct ActionsFile {
    pub(crate) redirect: Option<RedirectFile>,
    pub(crate) answer: Option<AnswerFile>,
    pub(crate) maintenance: Option<MaintenanceFile>,
    pub(crate) add_prefix: Written<String>,
    pub(crate) rewrite: Written<String>,
    /// `headers.request`.
    pub(crate) request: FieldsFile,
    /// `headers.response`.
    pub(crate) response: FieldsFile,
    /// `redirect` or `answer` was written, but what was written is a problem that is already reported.
    pub(crate) broken: bool,
}

/// `redirect`.
#[derive(Debug, Default)]
pub(crate) struct RedirectFile {
    pub(crate) place: Place,
    pub(crate) to: Written<String>,
    pub(crate) status: Written<i64>,
    /// `to` was written, but what was written is a problem that is already reported.
    pub(crate) broken: bool,
}

/// `answer`.
#[derive(Debug, Default)]
pub(crate) struct AnswerFile {
    pub(crate) place: Place,
    pub(crate) status: Written<i64>,
    pub(crate) content: Written<ContentFile>,
    pub(crate) content_type: Written<String>,
}

/// A body, from the configuration or from a file.
#[derive(Debug, Default, Clone)]
pub(crate) struct ContentFile {
    /// What the ending of the file says.
    pub(crate) content_type: Option<&'static str>,
    pub(crate) body: Vec<u8>,
}

/// `maintenance`.
#[derive(Debug, Default)]
pub(crate) struct MaintenanceFile {
    pub(crate) enabled: Written<bool>,
    pub(crate) retry_after: Written<Duration>,
    pub(crate) except: Written<Vec<At<String>>>,
    pub(crate) page: Written<ContentFile>,
}

/// `headers.request` or `headers.response`.
#[derive(Debug, Default)]
pub(crate) struct FieldsFile {
    pub(crate) place: Place,
    /// Name and value, in the order written.
    pub(crate) set: Vec<(String, At<String>)>,
    /// Name and value, in the order written.
    pub(crate) add: Vec<(String, At<String>)>,
    pub(crate) remove: Written<Vec<At<String>>>,
}
