//! Header fields in the order and spelling they came in, found without regard to case.
//!
//! All names and values of one head share one buffer: a head costs two allocations however many fields it has.
//! It does not judge values (see [`super::framing`]) beyond what [`is_token`] and [`is_value`] say.

/// A list of header fields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields {
    bytes: Vec<u8>,
    spans: Vec<Span>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    start: u32,
    name: u16,
    origin: Origin,
    value: u32,
}

/// Who added a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// It came with the head: `Connection` there may say that it ends here.
    Sender,
    /// It was added here, and nothing that the sender says takes it away.
    Here,
}

/// Hop-by-hop fields (RFC 9110 section 7.6.1) that stop here even when `Connection` does not name them, and the
/// framing fields, which every hop writes anew. `Trailer` goes because ureq cannot pass trailers on, `Upgrade` because a
/// plain forward cannot upgrade.
pub const HOP_BY_HOP: &[&str] = &[
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

impl Fields {
    /// An empty list.
    pub fn new() -> Fields {
        Fields::default()
    }

    /// An empty list with room for this many fields and this many bytes of names and values.
    pub fn with_capacity(fields: usize, bytes: usize) -> Fields {
        Fields {
            bytes: Vec::with_capacity(bytes),
            spans: Vec::with_capacity(fields),
        }
    }

    /// Number of fields.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Bytes of all names and values together, with 4 for each field's `: ` and line end.
    pub fn size(&self) -> usize {
        self.spans
            .iter()
            .map(|span| usize::from(span.name) + span.value as usize + 4)
            .sum()
    }

    /// Adds a field at the end. A name or value too large to be real (64 KiB, 4 GiB) is not added.
    pub fn append(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.add(name, value.as_ref(), Origin::Sender);
    }

    /// The same for one that is none of the sender's: it travels on even where the sender's `Connection` names it, which speaks
    /// of what the sender has sent (RFC 9110 section 7.6.1).
    pub fn append_ours(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.add(name, value.as_ref(), Origin::Here);
    }

    fn add(&mut self, name: &str, value: &[u8], origin: Origin) {
        let (Ok(start), Ok(name_length), Ok(value_length)) = (
            u32::try_from(self.bytes.len()),
            u16::try_from(name.len()),
            u32::try_from(value.len()),
        ) else {
            return;
        };
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(value);
        self.spans.push(Span {
            start,
            name: name_length,
            origin,
            value: value_length,
        });
    }

    /// Replaces every field of this name by one.
    pub fn set(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.remove(name);
        self.append(name, value);
    }

    /// Removes every field of this name.
    pub fn remove(&mut self, name: &str) {
        self.remove_where(|other| other.eq_ignore_ascii_case(name));
    }

    /// Removes every field whose name is one of those that are not wanted.
    pub fn remove_where(&mut self, is_unwanted: impl Fn(&str) -> bool) {
        let bytes = &self.bytes;
        self.spans
            .retain(|span| !is_unwanted(name_of(bytes, *span)));
    }

    /// All fields in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.spans
            .iter()
            .map(|span| (name_of(&self.bytes, *span), value_of(&self.bytes, *span)))
    }

    /// All values of this name in order.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.spans
            .iter()
            .filter(move |span| raw_name(&self.bytes, **span).eq_ignore_ascii_case(name.as_bytes()))
            .map(|span| value_of(&self.bytes, *span))
    }

    /// The first value of this name.
    pub fn get<'a>(&'a self, name: &str) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    /// The first value of this name, when it is ASCII.
    pub fn get_str<'a>(&'a self, name: &str) -> Option<&'a str> {
        self.get(name)
            .and_then(|value| std::str::from_utf8(value).ok())
            .filter(|value| value.is_ascii())
    }

    /// Whether there is such a field.
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The members of a comma-separated list field, over all its lines, trimmed, empty ones left out.
    pub fn members<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.all(name)
            .flat_map(|value| value.split(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|m| !m.is_empty())
    }

    /// Whether a comma-separated list field has this member, without regard to case.
    pub fn has_member(&self, name: &str, member: &str) -> bool {
        self.members(name)
            .any(|candidate| candidate.eq_ignore_ascii_case(member.as_bytes()))
    }

    /// The fields that may travel on: without [`HOP_BY_HOP`], and without what the sender's `Connection` names of its own.
    pub fn end_to_end(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let named: Vec<&[u8]> = self.members("connection").collect();
        let is_named = move |name: &str| {
            let mut named = named.iter();
            named.any(|member| member.eq_ignore_ascii_case(name.as_bytes()))
        };
        let travels = move |span: &&Span| {
            let name = name_of(&self.bytes, **span);
            !is_hop_by_hop(name) && (span.origin == Origin::Here || !is_named(name))
        };
        let spans = self.spans.iter().filter(travels);
        spans.map(|span| (name_of(&self.bytes, *span), value_of(&self.bytes, *span)))
    }
}

/// Whether a field of this name is one of [`HOP_BY_HOP`].
pub fn is_hop_by_hop(name: &str) -> bool {
    HOP_BY_HOP.iter().any(|hop| name.eq_ignore_ascii_case(hop))
}

fn name_of(bytes: &[u8], span: Span) -> &str {
    std::str::from_utf8(raw_name(bytes, span)).unwrap_or_default()
}

fn raw_name(bytes: &[u8], span: Span) -> &[u8] {
    let start = span.start as usize;
    bytes
        .get(start..start + usize::from(span.name))
        .unwrap_or_default()
}

fn value_of(bytes: &[u8], span: Span) -> &[u8] {
    let start = span.start as usize + usize::from(span.name);
    bytes
        .get(start..start + span.value as usize)
        .unwrap_or_default()
}

/// Whether `name` is a token (RFC 9110 section 5.6.2): the only thing a method or field name may be.
pub fn is_token(name: &[u8]) -> bool {
    !name.is_empty()
        && name
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

/// Whether `value` may be a field value (RFC 9110 section 5.5): no control characters but tab; bytes above 127 are fine.
pub fn is_value(value: &[u8]) -> bool {
    value
        .iter()
        .all(|byte| *byte == b'\t' || (*byte >= 0x20 && *byte != 0x7f))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Fields {
        let mut fields = Fields::new();
        fields.append("Host", "a");
        fields.append("Connection", "close, X-Drop");
        fields.append("x-drop", "1");
        fields.append("Set-Cookie", "a=1");
        fields.append("set-cookie", b"b=\xff");
        fields
    }

    #[test]
    fn order_spelling_and_repeats_stay() {
        let fields = sample();
        let names: Vec<&str> = fields.iter().map(|(name, _)| name).collect();
        assert_eq!(
            names,
            ["Host", "Connection", "x-drop", "Set-Cookie", "set-cookie"]
        );
        assert_eq!(
            fields.all("SET-COOKIE").collect::<Vec<_>>(),
            [b"a=1".as_slice(), b"b=\xff"]
        );
    }

    #[test]
    fn what_connection_names_does_not_travel() {
        let fields = sample();
        let names: Vec<&str> = fields.end_to_end().map(|(name, _)| name).collect();
        assert_eq!(names, ["Host", "Set-Cookie", "set-cookie"]);
    }

    #[test]
    fn what_connection_names_of_ours_does() {
        let mut fields = sample();
        fields.append_ours("X-Drop", "2");
        fields.append_ours("keep-alive", "1");
        let dropped: Vec<_> = fields
            .end_to_end()
            .filter(|(name, _)| *name == "X-Drop")
            .collect();
        assert_eq!(dropped, [("X-Drop", b"2".as_slice())]);
        assert_eq!(fields.end_to_end().count(), 4);
    }

    #[test]
    fn set_replaces_all() {
        let mut fields = sample();
        fields.set("set-cookie", "c");
        assert_eq!(fields.all("set-cookie").collect::<Vec<_>>(), [b"c"]);
        assert_eq!(fields.len(), 4);
    }

    #[test]
    fn members_cross_lines_and_skip_empty_ones() {
        let mut fields = Fields::new();
        fields.append("Via", "a, ,b");
        fields.append("via", " c ");
        assert_eq!(
            fields.members("via").collect::<Vec<_>>(),
            [b"a".as_slice(), b"b", b"c"]
        );
        assert!(fields.has_member("Via", "C"));
    }

    #[test]
    fn tokens_and_values() {
        assert!(is_token(b"X-A_b.9"));
        assert!(!is_token(b"") && !is_token(b"a b") && !is_token(b"a:") && !is_token(b"\xc3"));
        assert!(is_value(b"a\tb \xff"));
        assert!(!is_value(b"a\nb") && !is_value(b"\0") && !is_value(b"\x7f"));
    }
}
