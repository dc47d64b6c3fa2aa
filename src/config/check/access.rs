//! Who may come: lists of addresses, hosts and methods that are served, rules about requests.
//!
//! Only what is written is looked at: a list that bars everybody who will ever come is a list.

use std::sync::Arc;

use http::Method;
use ipnet::IpNet;

use super::address::{parse_host_match, parse_network, warn_of_host_bits};
use super::route::{check_conditions, check_methods};
use crate::config::file::{ListsFile, RuleFile, RulesFile, ServerFile, Written};
use crate::config::model::{
    AddressLists, Conditions, Hosts, Listen, ListenerAccess, Networks, RequestRules, ServerAccess,
    Spelling,
};
use crate::config::report::{At, Report};
use crate::config::suggest;

/// Networks in one list. As many take a few milliseconds to sort.
const MOST_NETWORKS: usize = 100_000;
/// Entries of `hosts`.
const MOST_HOSTS: usize = 10_000;
/// Entries of `allow_if` and of `deny_if`. Every request to the route may be compared with all of them.
const MOST_RULES: usize = 32;

/// Who may come to the server as a whole; `listen`: what became of it.
pub(super) fn check_server(file: &ServerFile, listen: &[Listen], report: &Report) -> ServerAccess {
    let written = file.listen.iter().flat_map(|written| &written.value);
    let mut lists = written.map(|entry| check_lists(&entry.lists, report));
    // Where an entry is missing here, it was a problem.
    let listeners = listen.iter().map(|listen| ListenerAccess {
        address: listen.address.to_string(),
        lists: lists.next().flatten(),
    });
    ServerAccess {
        listeners: listeners.collect(),
        hosts: check_hosts(&file.hosts, report),
        methods: check_served(&file.methods, report),
        paths: check_paths(&file.paths, report).unwrap_or_default(),
    }
}

/// `allow` and `deny`. None: everybody may come.
pub(super) fn check_lists(file: &ListsFile, report: &Report) -> Option<Arc<AddressLists>> {
    if let Some(allow) = file.allow.as_ref().filter(|allow| allow.value.is_empty()) {
        let message = "`allow` is empty: nobody could come";
        let hint =
            "leave it out where everybody may come; `deny = [\"0.0.0.0/0\", \"::/0\"]` is nobody";
        report.problem_hint(allow.place, message, hint);
    }
    let allow = file
        .allow
        .as_ref()
        .map(|written| check_networks("allow", written, report));
    let deny = file
        .deny
        .as_ref()
        .map(|written| check_networks("deny", written, report))
        .unwrap_or_default();
    let lists = AddressLists { allow, deny };
    (lists != AddressLists::default()).then(|| Arc::new(lists))
}

fn check_networks(key: &str, written: &At<Vec<At<String>>>, report: &Report) -> Networks {
    let count = written.value.len();
    if count > MOST_NETWORKS {
        let message = format!("`{key}` has at most {MOST_NETWORKS} entries, not {count}");
        let hint = "use larger networks";
        report.problem_hint(written.place, message, hint);
        return Networks::default();
    }
    let mut networks: Vec<IpNet> = Vec::with_capacity(count);
    for entry in &written.value {
        match parse_network(&entry.value) {
            Ok(network) => {
                warn_of_host_bits(entry, network, report);
                networks.push(network);
            }
            Err((message, hint)) => report.problem_hint(entry.place, message, hint),
        }
    }
    Networks::new(&networks)
}

/// `methods`; none are all.
fn check_served(written: &Written<Vec<At<String>>>, report: &Report) -> Vec<Method> {
    let is_empty = |written: &At<Vec<_>>| written.value.is_empty();
    if written.as_ref().is_none_or(is_empty) {
        return Vec::new();
    }
    check_methods(written, report).unwrap_or_default()
}

/// `paths`. None: nothing was written, or it is reported.
pub(super) fn check_paths(written: &Written<String>, report: &Report) -> Option<Spelling> {
    let written = written.as_ref()?;
    let mut all = Spelling::ALL.into_iter();
    let found = all.find(|spelling| spelling.as_str() == written.value);
    if found.is_none() {
        let known = Spelling::ALL.map(Spelling::as_str);
        let hint = suggest::hint(&written.value, "they are", known);
        let message = format!("unknown spelling of `paths`: \"{}\"", written.value);
        report.problem_hint(written.place, message, hint);
    }
    found
}

fn check_hosts(written: &Written<Vec<At<String>>>, report: &Report) -> Option<Arc<Hosts>> {
    let written = written.as_ref()?;
    let count = written.value.len();
    if count == 0 {
        return None;
    }
    if count > MOST_HOSTS {
        let message = format!("`hosts` has at most {MOST_HOSTS} entries, not {count}");
        let hint = "\"*.example.com\" is every name below example.com";
        report.problem_hint(written.place, message, hint);
        return None;
    }
    let hosts = written.value.iter().filter_map(|entry| {
        parse_host_match(&entry.value)
            .map_err(|(message, hint)| report.problem_hint(entry.place, message, hint))
            .ok()
    });
    Some(Arc::new(Hosts::new(hosts)))
}

/// `allow_if` and `deny_if`. None: whatever the request is like.
pub(super) fn check_rules(file: &RulesFile, report: &Report) -> Option<Arc<RequestRules>> {
    let rules = RequestRules {
        allow_if: check_rule_list("allow_if", &file.allow_if, report),
        deny_if: check_rule_list("deny_if", &file.deny_if, report),
    };
    (rules != RequestRules::default()).then(|| Arc::new(rules))
}

fn check_rule_list(
    key: &str,
    written: &Written<Vec<RuleFile>>,
    report: &Report,
) -> Vec<Conditions> {
    let Some(written) = written else {
        return Vec::new();
    };
    let count = written.value.len();
    let is_empty = count == 0 && key == "allow_if";
    if is_empty || count > MOST_RULES {
        let message = format!("`{key}` must have 1 to {MOST_RULES} entries, not {count}");
        let hint = "write it as in [{ header = { X-Team = \"a*\" } }], or leave it out";
        report.problem_hint(written.place, message, hint);
        return Vec::new();
    }
    let rules = written.value.iter().filter_map(|rule| {
        let conditions = check_conditions(&rule.conditions, report)?;
        if conditions == Conditions::default() && !rule.broken {
            let message = format!("this entry of `{key}` asks for nothing");
            let hint = "write a `header`, `query`, `cookie`, `method` or `client_ip`";
            report.problem_hint(rule.place, message, hint);
        }
        Some(conditions)
    });
    rules.collect()
}
