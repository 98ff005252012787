//! A scanned event: where each of its values lies, so that no byte is looked at twice to find it.

use std::borrow::Cow;

use crate::json::{JsonError, Kind, Sink, scan};
use crate::text::unescape;

/// Nodes of one event whose memory is kept for the next: 1 MiB. An event of sixteen megabytes may
/// have eight million.
const NODES_KEPT_MAX: usize = 65_536;

/// One value or key. Positions are bytes of the event; `next` is the node after the whole value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node {
    start: u32,
    end: u32,
    next: u32,
    kind: Kind,
}

/// The nodes of one event in the order of its bytes. Reused from event to event.
#[derive(Debug, Default)]
pub(crate) struct Tape {
    nodes: Vec<Node>,
    open: Vec<u32>,
}

impl Tape {
    /// Scans the value at `pos`; returns the index after it.
    pub(crate) fn scan(&mut self, bytes: &[u8], pos: usize, depth_max: usize) -> Result<usize, JsonError> {
        self.nodes.clear();
        self.nodes.shrink_to(NODES_KEPT_MAX);
        self.open.clear();
        scan(bytes, pos, depth_max, self)
    }

    /// The value scanned last. `text` must be what was scanned.
    pub(crate) fn root<'a>(&'a self, text: &'a str) -> Value<'a> {
        Value { text, nodes: &self.nodes, at: 0 }
    }
}

fn position(at: usize) -> u32 {
    u32::try_from(at).expect("an event is smaller than 4 GiB: event_bytes_max is checked before scanning")
}

impl Sink for Tape {
    fn open(&mut self, kind: Kind, start: usize) {
        self.open.push(position(self.nodes.len()));
        self.nodes.push(Node { start: position(start), end: 0, next: 0, kind });
    }

    fn close(&mut self, end: usize) {
        let next = position(self.nodes.len());
        let opened = self.open.pop().expect("the scanner closes only what it opened");
        let node = &mut self.nodes[opened as usize];
        node.end = position(end);
        node.next = next;
    }

    fn scalar(&mut self, kind: Kind, start: usize, end: usize) {
        let next = position(self.nodes.len() + 1);
        self.nodes.push(Node { start: position(start), end: position(end), next, kind });
    }
}

/// One value of an event.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Value<'a> {
    text: &'a str,
    nodes: &'a [Node],
    at: u32,
}

impl<'a> Value<'a> {
    fn node(self) -> Node {
        self.nodes[self.at as usize]
    }

    /// The value at node `at` of the same event.
    pub(crate) fn at(self, at: u32) -> Self {
        Self { at, ..self }
    }

    /// Number of its node.
    pub(crate) fn index(self) -> u32 {
        self.at
    }

    pub(crate) fn kind(self) -> Kind {
        self.node().kind
    }

    pub(crate) fn is_null(self) -> bool {
        self.kind() == Kind::Null
    }

    /// Its first byte in the event.
    pub(crate) fn start(self) -> u32 {
        self.node().start
    }

    /// Its bytes as they were sent.
    pub(crate) fn raw(self) -> &'a str {
        let node = self.node();
        &self.text[node.start as usize..node.end as usize]
    }

    /// What stands between the quotes of a string.
    pub(crate) fn between_quotes(self) -> &'a str {
        let node = self.node();
        &self.text[node.start as usize + 1..node.end as usize - 1]
    }

    /// The string it is, escapes resolved; `None` when it is none, or has half a surrogate pair.
    pub(crate) fn string(self) -> Option<Cow<'a, str>> {
        match self.kind() {
            Kind::Text => Some(Cow::Borrowed(self.between_quotes())),
            Kind::Escaped => {
                let mut decoded = String::new();
                unescape(self.between_quotes(), &mut decoded).then_some(Cow::Owned(decoded))
            }
            _ => None,
        }
    }

    /// Whether it is an object or array with nothing in it.
    pub(crate) fn is_empty(self) -> bool {
        self.node().next == self.at + 1
    }

    /// Keys and values of an object, in the order sent.
    pub(crate) fn entries(self) -> impl Iterator<Item = (Value<'a>, Value<'a>)> {
        let (mut at, end) = (self.at + 1, self.node().next);
        std::iter::from_fn(move || {
            let key = (at < end).then(|| self.at(at))?;
            let value = self.at(at + 1);
            at = value.node().next;
            Some((key, value))
        })
    }

    /// Elements of an array.
    pub(crate) fn elements(self) -> impl Iterator<Item = Value<'a>> {
        let (mut at, end) = (self.at + 1, self.node().next);
        std::iter::from_fn(move || {
            let element = (at < end).then(|| self.at(at))?;
            at = element.node().next;
            Some(element)
        })
    }
}
