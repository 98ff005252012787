//! Keys to columns: where the values of one object's keys go.

use std::borrow::Cow;
use std::collections::HashMap;

use arrow_schema::Fields;
use event::limits;

use crate::columns::{self, NamesTaken};
use crate::conflicts::Reason;
use crate::json::Kind;
use crate::tape::Value;

/// Where the value of a key goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// Into a column, by its index in the level.
    Column(u32),
    /// Into `_id`.
    Id,
    /// There could be a column for it, and there is none.
    Unknown,
    /// Never into a column.
    Refused(Reason),
    /// Nowhere: the same key comes again later.
    Shadowed,
}

/// A key of the object at hand, and where its value goes. The value is the node after the key's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resolved {
    pub(crate) key: u32,
    pub(crate) target: Target,
}

/// What holds for all keys of one level.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// Whether it is the event itself, where system columns have their names.
    pub(crate) top: bool,
    /// Depth of its fields: 1 at the top.
    pub(crate) depth: usize,
    /// Deepest field that may become a column.
    pub(crate) depth_max: usize,
    /// Whether the table may have more columns.
    pub(crate) open: bool,
}

#[derive(Debug)]
struct Slot {
    name: Box<str>,
    target: Target,
    /// The slot that came after this one last time: most likely it does so again.
    next: u32,
    /// The object it was last seen in, and its place among that object's keys.
    seen: u64,
    place: u32,
}

/// The keys of one level.
#[derive(Debug)]
pub(crate) struct Names {
    /// The first is no key: it only points to the one that begins objects.
    slots: Vec<Slot>,
    by_name: HashMap<Box<str>, u32>,
    taken: NamesTaken,
    rules: Rules,
    kept_max: usize,
    object: u64,
}

impl Names {
    pub(crate) fn new(fields: &Fields, rules: Rules) -> Self {
        let taken = if rules.top { NamesTaken::with_system_columns() } else { NamesTaken::default() };
        let kept_max = fields.len() + limits::DECODE_KEYS_KEPT_MAX;
        let mut names =
            Self { slots: Vec::new(), by_name: HashMap::new(), taken, rules, kept_max, object: 0 };
        names.slots.push(Slot { name: "\0".into(), target: Target::Unknown, next: 0, seen: 0, place: 0 });
        for (index, field) in (0..).zip(fields) {
            names.taken.take(field.name());
            names.keep(field.name(), Target::Column(index));
        }
        names
    }

    /// Remembers where `name` goes; returns its slot.
    pub(crate) fn keep(&mut self, name: &str, target: Target) -> u32 {
        if let Some(slot) = self.by_name.get(name) {
            self.slots[*slot as usize].target = target;
            return *slot;
        }
        let slot = u32::try_from(self.slots.len()).expect("at most kept_max slots, and a few by hand");
        self.slots.push(Slot { name: name.into(), target, next: 0, seen: 0, place: 0 });
        self.by_name.insert(name.into(), slot);
        slot
    }

    /// As [`Names::keep`], for a name that may have a column already: then it keeps it.
    pub(crate) fn watch(&mut self, name: &str) -> u32 {
        let target = self.target(name);
        self.keep(name, target)
    }

    /// Appends the keys of `object` to `out`, each with where it goes. Of equal keys the last counts.
    pub(crate) fn resolve(&mut self, object: Value<'_>, out: &mut Vec<Resolved>) {
        self.object += 1;
        let base = out.len();
        let mut previous = 0;
        let mut strangers = Strangers::default();
        for (place, (key, _)) in (0..).zip(object.entries()) {
            let target = match self.find(previous, key) {
                Some(slot) => {
                    previous = slot;
                    let slot = &mut self.slots[slot as usize];
                    if slot.seen == self.object {
                        out[base + slot.place as usize].target = Target::Shadowed;
                    }
                    slot.seen = self.object;
                    slot.place = place;
                    slot.target
                }
                None => self.stranger(key, base + place as usize, &mut strangers, out),
            };
            out.push(Resolved { key: key.index(), target });
        }
    }

    /// The place of a slot's key in the object resolved last, if it is there.
    pub(crate) fn place_of(&self, slot: u32) -> Option<usize> {
        let slot = &self.slots[slot as usize];
        (slot.seen == self.object).then_some(slot.place as usize)
    }

    /// Where values of `name` go.
    pub(crate) fn target(&self, name: &str) -> Target {
        if let Some(slot) = self.by_name.get(name) {
            return self.slots[*slot as usize].target;
        }
        let refused = if self.rules.top && columns::is_system(name) {
            Some(Reason::SystemColumn)
        } else if self.taken.has(name) {
            Some(Reason::NameCase)
        } else if columns::is_forbidden(name) {
            Some(Reason::NameForbidden)
        } else if self.rules.depth > self.rules.depth_max {
            Some(Reason::DepthMax)
        } else if !self.rules.open {
            Some(Reason::ColumnsMax)
        } else {
            None
        };
        refused.map_or(Target::Unknown, Target::Refused)
    }

    /// The slot of a key, made if there is room; `None` when the key is not kept.
    fn find(&mut self, previous: u32, key: Value<'_>) -> Option<u32> {
        if key.kind() == Kind::Escaped {
            return self.slot(&key.string()?);
        }
        let name = key.between_quotes();
        let likely = self.slots[previous as usize].next;
        if *self.slots[likely as usize].name == *name {
            return Some(likely);
        }
        let slot = self.slot(name)?;
        self.slots[previous as usize].next = slot;
        Some(slot)
    }

    fn slot(&mut self, name: &str) -> Option<u32> {
        if let Some(slot) = self.by_name.get(name) {
            return Some(*slot);
        }
        let room = self.slots.len() < self.kept_max && name.len() <= limits::COLUMN_NAME_BYTES_MAX;
        room.then(|| self.watch(name))
    }

    /// Judges a key that is not kept, and shadows its earlier self.
    fn stranger<'a>(
        &self,
        key: Value<'a>,
        at: usize,
        strangers: &mut Strangers<'a>,
        out: &mut [Resolved],
    ) -> Target {
        // A key that is no text is equal to none.
        let Some(name) = key.string() else { return Target::Refused(Reason::NameForbidden) };
        let target = self.target(&name);
        if let Some(earlier) = strangers.insert(name, at) {
            out[earlier].target = Target::Shadowed;
        }
        target
    }
}

/// Keys of one object that have no slot, and where in the output they are.
type Strangers<'a> = HashMap<Cow<'a, str>, usize>;
