//! What a route answers by itself: `redirect`, `answer`, `maintenance`.
//!
//! Files were read already; here it is only judged what they are used for.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::address::parse_network;
use super::location::judge_location;
use super::template::{Scope, check_template};
use super::{duration, given, number};
use crate::config::file::{
    AnswerFile, ContentFile, MaintenanceFile, RedirectFile, RouteFile, Written,
};
use crate::config::model::{
    Content, FixedAnswer, Maintenance, PathMatch, Redirect, RouteTo, Segment,
};
use crate::config::report::{At, Place, Report};
use crate::message::fields::is_value;

/// Statuses that send a client elsewhere.
const REDIRECTS: [u16; 5] = [301, 302, 303, 307, 308];
const RETRY_AFTER: Duration = Duration::from_secs(60);
const PLAIN: &str = "text/plain; charset=utf-8";

/// Whether the route answers by itself, so that [`check_own`] says where it leads.
pub(super) fn is_own(file: &RouteFile) -> bool {
    file.actions.redirect.is_some() || file.actions.answer.is_some()
}

/// Checks a route that needs no backend.
pub(super) fn check_own(
    file: &RouteFile,
    path: Option<&PathMatch>,
    report: &Report,
) -> Option<RouteTo> {
    let actions = &file.actions;
    let Some(redirect) = &actions.redirect else {
        let answer = actions.answer.as_ref()?;
        check_alone(file, "answer", answer.place, report);
        let answer = check_answer(answer, report)?;
        return Some(RouteTo::Answer(Arc::new(answer)));
    };
    check_alone(file, "redirect", redirect.place, report);
    if let Some(answer) = &actions.answer {
        let message = "a route has a `redirect` or an `answer`, not both";
        report.problem_hint(answer.place, message, "keep one of them");
    }
    check_redirect(redirect, path, report).map(RouteTo::Redirect)
}

/// Reports what says something about a backend that is never asked.
fn check_alone(file: &RouteFile, name: &str, own: Place, report: &Report) {
    let place = |written: Option<Place>, key: &'static str| written.map(|place| (key, place));
    let leads = [
        place(file.upstream.as_ref().map(|at| at.place), "upstream"),
        place(file.services.as_ref().map(|at| at.place), "services"),
        place(file.split.as_ref().map(|at| at.place), "split"),
    ];
    for (key, place) in leads.into_iter().flatten() {
        let message = format!("a route leads to `{key}` or has `{name}`, not both");
        report.problem_hint(place, message, "keep one of them");
    }
    let idle = [
        place(file.split_key.as_ref().map(|at| at.place), "split_key"),
        place(
            file.split_override.as_ref().map(|at| at.place),
            "split_override",
        ),
        place(file.mirror.as_ref().map(|mirror| mirror.place), "mirror"),
        place(
            file.strip_prefix.as_ref().map(|at| at.place),
            "strip_prefix",
        ),
        place(
            file.actions.add_prefix.as_ref().map(|at| at.place),
            "add_prefix",
        ),
        place(file.actions.rewrite.as_ref().map(|at| at.place), "rewrite"),
        place(file.max_body.as_ref().map(|at| at.place), "max_body"),
        place(file.upgrade.as_ref().map(|at| at.place), "upgrade"),
    ];
    for (key, place) in idle.into_iter().flatten() {
        let message = format!("`{key}` has no effect on a route with `{name}`");
        let hint = format!(
            "leave it out: `{name}` on {} asks no backend",
            report.name(own)
        );
        report.problem_hint(place, message, hint);
    }
}

fn check_redirect(
    file: &RedirectFile,
    path: Option<&PathMatch>,
    report: &Report,
) -> Option<Redirect> {
    let status = match &file.status {
        None => StatusCode::PERMANENT_REDIRECT,
        Some(written) => {
            let known = u16::try_from(written.value).ok();
            let known = known.filter(|status| REDIRECTS.contains(status));
            let status = known.and_then(|status| StatusCode::from_u16(status).ok());
            if status.is_none() {
                let message = format!("{} is not a status of a redirect", written.value);
                let hint = "308 and 301 are permanent, 307 and 302 temporary; 303 turns every method into GET";
                report.problem_hint(written.place, message, hint);
            }
            status?
        }
    };
    let Some(to) = &file.to else {
        if !file.broken {
            let message = "`redirect` does not say where to";
            let hint = "add `to = \"https://{host}{path}{query}\"`, or a path such as `to = \"/new{rest}\"`";
            report.problem_hint(file.place, message, hint);
        }
        return None;
    };
    // Without a path there is a problem with it, and any name could be a parameter.
    let parameters = parameters(path?);
    let template = check_template(to, "`to`", Scope::Location(&parameters), report)?;
    if let Err((message, hint)) = judge_location(&template) {
        report.problem_hint(to.place, format!("`to` \"{}\" {message}", to.value), hint);
        return None;
    }
    Some(Redirect {
        to: template,
        status,
    })
}

/// The names of a path's parameters.
pub(super) fn parameters(path: &PathMatch) -> Vec<&str> {
    let segments = match path {
        PathMatch::Pattern(segments) => segments.as_slice(),
        _ => &[],
    };
    let names = segments.iter().filter_map(|segment| match segment {
        Segment::Parameter(name) => Some(name.as_str()),
        Segment::Literal(_) => None,
    });
    names.collect()
}

fn check_answer(file: &AnswerFile, report: &Report) -> Option<FixedAnswer> {
    let status = number(report, &file.status, "status", (200_u16, 599), 200);
    let status = StatusCode::from_u16(status).ok()?;
    let content = check_content(&file.content, &file.content_type, report)?;
    if matches!(status.as_u16(), 204 | 205 | 304) && !content.body.is_empty() {
        let place = file
            .content
            .as_ref()
            .map_or(file.place, |content| content.place);
        let message = format!("an answer with status {} has no body", status.as_u16());
        report.problem_hint(place, message, "leave the body out, or use another status");
        return None;
    }
    Some(FixedAnswer { status, content })
}

fn check_content(
    content: &Written<ContentFile>,
    content_type: &Written<String>,
    report: &Report,
) -> Option<Content> {
    let (guess, body) = match content {
        Some(content) => (content.value.content_type, content.value.body.as_slice()),
        None => (None, [].as_slice()),
    };
    let content_type = match content_type {
        Some(written) if !is_media_type(&written.value) => {
            let message = format!("`content_type` \"{}\" is no media type", written.value);
            let hint = "write it as in \"text/html; charset=utf-8\"";
            report.problem_hint(written.place, message, hint);
            return None;
        }
        Some(written) => &written.value,
        None => guess.unwrap_or(PLAIN),
    };
    Some(Content {
        content_type: content_type.to_owned(),
        body: body.into(),
    })
}

fn is_media_type(text: &str) -> bool {
    let kind = text.split(';').next().unwrap_or_default();
    kind.split_once('/').is_some_and(|(kind, rest)| {
        let is_word = |word: &str| crate::message::fields::is_token(word.as_bytes());
        is_word(kind) && is_word(rest.trim_end())
    }) && text.is_ascii()
        && is_value(text.as_bytes())
}

/// None: not in maintenance.
pub(super) fn check_maintenance(
    file: Option<&MaintenanceFile>,
    report: &Report,
) -> Option<Arc<Maintenance>> {
    let file = file?;
    let least = Duration::from_secs(1);
    let retry_after = duration(report, &file.retry_after, "retry_after", least, RETRY_AFTER);
    let mut except = Vec::new();
    for entry in file.except.iter().flat_map(|written| &written.value) {
        match parse_network(&entry.value) {
            Ok(network) => except.push(network),
            Err((message, hint)) => report.problem_hint(entry.place, message, hint),
        }
    }
    let page = file.page.as_ref().and_then(|page| check_page(page, report));
    let maintenance = Maintenance {
        retry_after,
        except,
        page,
    };
    given(&file.enabled, true).then(|| Arc::new(maintenance))
}

fn check_page(page: &At<ContentFile>, report: &Report) -> Option<Content> {
    if page.value.content_type.is_none() {
        let message = "the ending of this file does not say what it is";
        let hint =
            "name it as in \"maintenance.html\", \"maintenance.json\" or \"maintenance.txt\"";
        report.problem_hint(page.place, message, hint);
    }
    check_content(&Some(page.clone()), &None, report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types() {
        for good in [
            "text/plain",
            "text/html; charset=utf-8",
            "application/problem+json",
        ] {
            assert!(is_media_type(good), "{good}");
        }
        for bad in [
            "",
            "text",
            "text/",
            "/x",
            "text/pl ain",
            "text/plain\r\nX: y",
            "text/plain; a=\u{e4}",
        ] {
            assert!(!is_media_type(bad), "{bad}");
        }
    }
}
