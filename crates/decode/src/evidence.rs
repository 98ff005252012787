//! What was seen of fields that have no column yet, and the columns that follow from it.
//!
//! Evidence is counts, and the first place a field was seen at. Both merge in any order, so the
//! columns of a flush do not depend on how its events were cut into chunks.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use event::limits::DISCOVERED_FIELDS_MAX;

use crate::DecodeOptions;
use crate::columns::{self, NamesTaken};
use crate::options::list_of;
use crate::tape::Value;

/// Where a field was seen. Its order is that of offsets, then of places in the event, so new
/// columns stand in the table as their fields stand in the events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) offset: u64,
    pub(crate) partition: u32,
    pub(crate) byte: u32,
}

impl Place {
    /// After all others.
    const NOWHERE: Self = Self { offset: u64::MAX, partition: u32::MAX, byte: u32::MAX };
}

/// What a value shows of its column's type. The order decides between kinds seen equally often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Shape {
    String,
    Long,
    Double,
    Boolean,
    Object,
    Array,
}

/// What was seen of one field. A count is a number of events, however many elements an array has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Evidence {
    first: Place,
    strings: u64,
    longs: u64,
    doubles: u64,
    booleans: u64,
    objects: u64,
    arrays: u64,
    fields: BTreeMap<Box<str>, Evidence>,
    element: Option<Box<Evidence>>,
}

impl Evidence {
    fn new(first: Place) -> Self {
        Self {
            first,
            strings: 0,
            longs: 0,
            doubles: 0,
            booleans: 0,
            objects: 0,
            arrays: 0,
            fields: BTreeMap::new(),
            element: None,
        }
    }

    /// One value of that shape.
    pub(crate) fn of(shape: Shape, place: Place) -> Self {
        let mut evidence = Self::new(place);
        match shape {
            Shape::String => evidence.strings = 1,
            Shape::Long => evidence.longs = 1,
            Shape::Double => evidence.doubles = 1,
            Shape::Boolean => evidence.booleans = 1,
            Shape::Object => evidence.objects = 1,
            Shape::Array => evidence.arrays = 1,
        }
        evidence
    }

    /// An object with what its fields show.
    pub(crate) fn of_object(fields: BTreeMap<Box<str>, Evidence>, place: Place) -> Self {
        Self { fields, ..Self::of(Shape::Object, place) }
    }

    /// An array with what its elements show together.
    pub(crate) fn of_array(element: Option<Evidence>, place: Place) -> Self {
        Self { element: element.map(Box::new), ..Self::of(Shape::Array, place) }
    }

    /// Adds what `other` saw of the same field.
    pub(crate) fn merge(&mut self, other: Self) {
        let mut room = usize::MAX;
        self.merge_within(other, &mut room);
    }

    /// As [`Evidence::merge`], taking fields unknown so far from `room`, and none beyond it.
    fn merge_within(&mut self, other: Self, room: &mut usize) {
        self.first = self.first.min(other.first);
        self.strings += other.strings;
        self.longs += other.longs;
        self.doubles += other.doubles;
        self.booleans += other.booleans;
        self.objects += other.objects;
        self.arrays += other.arrays;
        for (name, field) in other.fields {
            merge_field(&mut self.fields, name, field, room);
        }
        if let Some(element) = other.element {
            let known = self.element.get_or_insert_with(|| Box::new(Self::new(Place::NOWHERE)));
            known.merge_within(*element, room);
        }
    }

    /// Fields in it, itself included.
    fn field_count(&self) -> usize {
        let fields: usize = self.fields.values().map(Self::field_count).sum();
        1 + fields + self.element.as_ref().map_or(0, |element| element.field_count())
    }

    /// Whether a column could be made of it: a value was seen that is no array or object of nothing.
    pub(crate) fn is_typed(&self) -> bool {
        self.strings + self.longs + self.doubles + self.booleans > 0
            || self.element.as_ref().is_some_and(|element| element.is_typed())
            || self.fields.values().any(Self::is_typed)
    }

    /// Forgets fields that have no type.
    pub(crate) fn prune(&mut self) {
        self.fields.retain(|_, field| field.is_typed());
        self.fields.values_mut().for_each(Self::prune);
        if let Some(element) = &mut self.element {
            element.prune();
        }
        self.element.take_if(|element| !element.is_typed());
    }

    /// Whether one column can hold all that was seen: one kind everywhere, and no two names that
    /// differ only by case.
    pub(crate) fn is_unanimous(&self) -> bool {
        let kinds = self.kinds().filter(|(_, count)| *count > 0).count();
        let mut names = NamesTaken::default();
        kinds <= 1
            && self.fields.keys().all(|name| names.take(name))
            && self.fields.values().all(Self::is_unanimous)
            && self.element.as_ref().is_none_or(|element| element.is_unanimous())
    }

    /// Counts an array's elements as one value.
    pub(crate) fn count_once(&mut self) {
        for count in [
            &mut self.strings,
            &mut self.longs,
            &mut self.doubles,
            &mut self.booleans,
            &mut self.objects,
            &mut self.arrays,
        ] {
            *count = (*count).min(1);
        }
        self.fields.values_mut().for_each(Self::count_once);
        if let Some(element) = &mut self.element {
            element.count_once();
        }
    }

    /// Kinds that exclude each other, each with how often it was seen. One fraction makes all
    /// numbers `double`.
    fn kinds(&self) -> impl Iterator<Item = (Shape, u64)> {
        let number = if self.doubles > 0 { Shape::Double } else { Shape::Long };
        [
            (Shape::String, self.strings),
            (number, self.longs + self.doubles),
            (Shape::Boolean, self.booleans),
            (Shape::Object, self.objects),
            (Shape::Array, self.arrays),
        ]
        .into_iter()
    }

    fn count(&self) -> u64 {
        self.kinds().map(|(_, count)| count).sum()
    }

    /// The type that most of what was seen has.
    fn resolve(&self, growth: &mut Growth, depth: usize) -> Option<DataType> {
        if depth > growth.depth_max || growth.leaves_left == 0 {
            return None;
        }
        let mut kinds: Vec<_> = self.kinds().filter(|(_, count)| *count > 0).collect();
        kinds.sort_by_key(|(shape, count)| (Reverse(*count), *shape));
        kinds.into_iter().find_map(|(shape, _)| self.resolve_as(shape, growth, depth))
    }

    fn resolve_as(&self, shape: Shape, growth: &mut Growth, depth: usize) -> Option<DataType> {
        let leaf = match shape {
            Shape::String => DataType::Utf8,
            Shape::Long => DataType::Int64,
            Shape::Double => DataType::Float64,
            Shape::Boolean => DataType::Boolean,
            Shape::Array => return self.element.as_ref()?.resolve(growth, depth + 1).map(list_of),
            Shape::Object => {
                let fields = growth.extend(&Fields::empty(), &self.fields, depth + 1);
                return (!fields.is_empty()).then_some(DataType::Struct(fields));
            }
        };
        growth.leaves_left -= 1;
        Some(leaf)
    }
}

fn merge_field(fields: &mut BTreeMap<Box<str>, Evidence>, name: Box<str>, field: Evidence, room: &mut usize) {
    if let Some(known) = fields.get_mut(&name) {
        known.merge_within(field, room);
        return;
    }
    let size = field.field_count();
    if size <= *room {
        *room -= size;
        fields.insert(name, field);
    }
}

/// Evidence on fields that have no column yet, also on those missing in a struct column.
///
/// Merging is commutative and associative as long as all of it has at most
/// [`DISCOVERED_FIELDS_MAX`] fields; beyond, fields that come later wait for the next flush.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Discovered {
    fields: BTreeMap<Box<str>, Evidence>,
}

impl Discovered {
    /// Whether there is nothing a column could be made of: decoding again would give the same.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Adds what was seen elsewhere.
    pub fn merge(&mut self, other: Self) {
        let mut room = self.room();
        for (name, field) in other.fields {
            merge_field(&mut self.fields, name, field, &mut room);
        }
    }

    /// `schema` with a column, or a field of a struct column, for each field seen. What `schema`
    /// has stays as it is. New columns stand in the order their fields were seen in; when there is
    /// no room for all, those seen most often get in; of names that differ only by case, the one
    /// seen first.
    #[must_use]
    pub fn extend(&self, schema: &SchemaRef, options: &DecodeOptions) -> SchemaRef {
        let leaves_left = options.columns_max.saturating_sub(columns::schema_leaf_count(schema));
        let mut growth = Growth { leaves_left, depth_max: options.depth_max, options };
        let fields = growth.extend(schema.fields(), &self.fields, 1);
        if fields == *schema.fields() {
            return schema.clone();
        }
        Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
    }

    fn room(&self) -> usize {
        let taken: usize = self.fields.values().map(Evidence::field_count).sum();
        DISCOVERED_FIELDS_MAX.saturating_sub(taken)
    }
}

/// A [`Discovered`] while events are read.
#[derive(Debug)]
pub(crate) struct Discovery {
    discovered: Discovered,
    room: usize,
}

impl Default for Discovery {
    fn default() -> Self {
        Self { discovered: Discovered::default(), room: DISCOVERED_FIELDS_MAX }
    }
}

impl Discovery {
    /// Adds what one value shows of the field `name`. `around` are the keys of the struct columns
    /// it lies in, from outside.
    pub(crate) fn learn<'a>(
        &mut self,
        around: impl Iterator<Item = Value<'a>>,
        name: &str,
        evidence: Evidence,
    ) {
        let first = evidence.first;
        let mut fields = &mut self.discovered.fields;
        // These are columns, so they are few and take no room.
        for key in around.filter_map(Value::string) {
            let object = fields.entry(key.into()).or_insert_with(|| Evidence::new(first));
            object.first = object.first.min(first);
            fields = &mut object.fields;
        }
        match fields.get_mut(name) {
            Some(known) => known.merge_within(evidence, &mut self.room),
            None => merge_field(fields, name.into(), evidence, &mut self.room),
        }
    }

    pub(crate) fn take(&mut self) -> Discovered {
        std::mem::take(self).discovered
    }
}

/// A schema growing: how much more it may.
struct Growth<'a> {
    leaves_left: usize,
    depth_max: usize,
    options: &'a DecodeOptions,
}

impl Growth<'_> {
    /// `known` with what `seen` adds. `depth` is that of the fields: 1 for columns.
    fn extend(&mut self, known: &Fields, seen: &BTreeMap<Box<str>, Evidence>, depth: usize) -> Fields {
        let mut names = if depth == 1 { NamesTaken::with_system_columns() } else { NamesTaken::default() };
        let mut fields: Vec<FieldRef> = Vec::with_capacity(known.len() + seen.len());
        for field in known {
            names.take(field.name());
            let evidence = seen.get(field.name().as_str());
            fields.push(evidence.map_or_else(|| field.clone(), |seen| self.extend_field(field, seen, depth)));
        }
        let seen = seen.iter().map(|(name, evidence)| (&**name, evidence));
        let mut new: Vec<_> = seen.filter(|(name, _)| !columns::is_forbidden(name)).collect();
        new.sort_by_key(|(name, evidence)| (evidence.first, *name));
        new.retain(|(name, _)| names.take(name));
        fields.extend(self.add(new, depth));
        fields.into()
    }

    /// New fields of one level, given and returned in the order they were seen in.
    fn add(&mut self, new: Vec<(&str, &Evidence)>, depth: usize) -> impl Iterator<Item = FieldRef> + use<> {
        let mut ranked: Vec<_> = new.into_iter().enumerate().collect();
        ranked.sort_by_key(|(place, (_, evidence))| (Reverse(evidence.count()), *place));
        let mut added: Vec<_> = ranked
            .into_iter()
            .filter_map(|(place, (name, evidence))| Some((place, self.field(name, evidence, depth)?)))
            .collect();
        added.sort_by_key(|(place, _)| *place);
        added.into_iter().map(|(_, field)| field)
    }

    fn field(&mut self, name: &str, evidence: &Evidence, depth: usize) -> Option<FieldRef> {
        let by_hand = if depth == 1 { self.options.by_hand(name) } else { None };
        let of = match by_hand {
            Some(of) if self.leaves_left > 0 => {
                self.leaves_left -= 1;
                of.arrow()
            }
            Some(_) => return None,
            None => evidence.resolve(self, depth)?,
        };
        Some(Arc::new(Field::new(name, of, true)))
    }

    /// A column that is there: only objects in it can grow.
    fn extend_field(&mut self, field: &FieldRef, seen: &Evidence, depth: usize) -> FieldRef {
        let of = match field.data_type() {
            DataType::Struct(fields) => DataType::Struct(self.extend(fields, &seen.fields, depth + 1)),
            DataType::List(element) => match &seen.element {
                Some(seen) => DataType::List(self.extend_field(element, seen, depth + 1)),
                None => return field.clone(),
            },
            _ => return field.clone(),
        };
        if of == *field.data_type() {
            return field.clone();
        }
        Arc::new(field.as_ref().clone().with_data_type(of))
    }
}
