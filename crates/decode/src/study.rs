//! What one value that has no column shows of the column it could have.

use std::collections::BTreeMap;

use crate::column::{Column, ListColumn, StructColumn};
use crate::columns::is_forbidden;
use crate::conflicts::Reason;
use crate::evidence::{Evidence, Place, Shape};
use crate::json::Kind;
use crate::names::Target;
use crate::number;
use crate::tape::Value;

/// Evidence of a value; `None` when it fits as it is and shows nothing new; the reason when it can
/// never be in a column.
type Studied = Result<Option<Evidence>, Reason>;

/// The event that is studied, and the deepest level columns may have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Study {
    pub(crate) offset: u64,
    pub(crate) partition: u32,
    pub(crate) depth_max: usize,
}

impl Study {
    /// Studies the value of a field that has no column, `depth` levels deep.
    ///
    /// # Errors
    /// The reason why it shows nothing.
    pub(crate) fn field(&self, value: Value<'_>, depth: usize) -> Result<Evidence, Reason> {
        let nothing = if value.kind() == Kind::Array { Reason::EmptyArray } else { Reason::EmptyObject };
        let mut evidence = match value.kind() {
            Kind::Object => self.object_in_part(value, depth)?,
            _ => self.whole(value, depth)?.ok_or(nothing)?,
        };
        evidence.prune();
        if evidence.is_typed() { Ok(evidence) } else { Err(nothing) }
    }

    /// Studies an array that its list column did not take: whether it would with more fields in
    /// the structs of its elements.
    ///
    /// # Errors
    /// The reason why it would not.
    pub(crate) fn misfit(&self, column: &Column, value: Value<'_>, depth: usize) -> Result<Evidence, Reason> {
        let mut evidence = self.known(column, value, depth)?.ok_or(Reason::ArrayElements)?;
        evidence.prune();
        if evidence.is_typed() { Ok(evidence) } else { Err(Reason::ArrayElements) }
    }

    fn place(&self, value: Value<'_>) -> Place {
        Place { offset: self.offset, partition: self.partition, byte: value.start() }
    }

    /// An object that need not fit in whole: what does not stays in the residual.
    fn object_in_part(&self, value: Value<'_>, depth: usize) -> Result<Evidence, Reason> {
        let mut fields = BTreeMap::new();
        let mut refused = None;
        for (key, value) in value.entries().filter(|(_, value)| !value.is_null()) {
            let studied = match key.string().filter(|name| !is_forbidden(name)) {
                Some(name) => {
                    self.within(depth + 1).and_then(|()| self.field(value, depth + 1)).map(|e| (name, e))
                }
                None => Err(Reason::NameForbidden),
            };
            match studied {
                Ok((name, evidence)) => drop(fields.insert(name.into(), evidence)),
                Err(reason) => refused = refused.or(Some(reason)),
            }
        }
        if fields.is_empty() {
            return Err(refused.unwrap_or(Reason::EmptyObject));
        }
        Ok(Evidence::of_object(fields, self.place(value)))
    }

    fn within(&self, depth: usize) -> Result<(), Reason> {
        if depth > self.depth_max { Err(Reason::DepthMax) } else { Ok(()) }
    }

    /// A value that must fit in whole, as all elements of arrays must.
    fn whole(&self, value: Value<'_>, depth: usize) -> Studied {
        self.within(depth)?;
        let shape = match value.kind() {
            Kind::Null => return Ok(None),
            Kind::Object => return self.whole_object(value, depth),
            Kind::Array => return self.whole_array(value, depth),
            Kind::Escaped if value.string().is_none() => return Err(Reason::LoneSurrogate),
            Kind::Text | Kind::Escaped => Shape::String,
            Kind::True | Kind::False => Shape::Boolean,
            Kind::Integer => number::long(value.raw()).map(|_| Shape::Long)?,
            Kind::Decimal => number::double(value.raw()).map(|_| Shape::Double)?,
        };
        Ok(Some(Evidence::of(shape, self.place(value))))
    }

    fn whole_object(&self, value: Value<'_>, depth: usize) -> Studied {
        if value.is_empty() {
            return Err(Reason::EmptyObject);
        }
        let mut fields = BTreeMap::new();
        for (key, value) in value.entries().filter(|(_, value)| !value.is_null()) {
            let name = key.string().filter(|name| !is_forbidden(name)).ok_or(Reason::NameForbidden)?;
            if let Some(evidence) = self.whole(value, depth + 1)? {
                fields.insert(name.into(), evidence);
            }
        }
        Ok(Some(Evidence::of_object(fields, self.place(value))))
    }

    fn whole_array(&self, value: Value<'_>, depth: usize) -> Studied {
        let elements = value.elements().map(|element| self.whole(element, depth + 1));
        Ok(Some(Evidence::of_array(together(elements)?, self.place(value))))
    }

    /// A value that belongs to a column there is, in whole.
    fn known(&self, column: &Column, value: Value<'_>, depth: usize) -> Studied {
        match (column, value.kind()) {
            (_, Kind::Null) => Ok(None),
            (Column::List(list), Kind::Array) => self.known_array(list, value, depth),
            (Column::Struct(of), Kind::Object) => self.known_object(of, value, depth),
            _ => column.takes(value).map(|()| None),
        }
    }

    fn known_array(&self, list: &ListColumn, value: Value<'_>, depth: usize) -> Studied {
        let elements = value.elements().map(|element| self.known(&list.element, element, depth + 1));
        let element = together(elements)?;
        Ok(element.map(|element| Evidence::of_array(Some(element), self.place(value))))
    }

    fn known_object(&self, of: &StructColumn, value: Value<'_>, depth: usize) -> Studied {
        if value.is_empty() {
            return Err(Reason::EmptyObject);
        }
        let mut fields = BTreeMap::new();
        for (key, value) in value.entries().filter(|(_, value)| !value.is_null()) {
            let name = key.string().ok_or(Reason::NameForbidden)?;
            let studied = match of.names.target(&name) {
                Target::Column(index) => self.known(&of.columns[index as usize], value, depth + 1)?,
                Target::Refused(reason) => return Err(reason),
                Target::Unknown | Target::Id | Target::Shadowed => self.whole(value, depth + 1)?,
            };
            if let Some(evidence) = studied {
                fields.insert(name.into(), evidence);
            }
        }
        Ok((!fields.is_empty()).then(|| Evidence::of_object(fields, self.place(value))))
    }
}

/// What the elements of one array show of their common type.
fn together(elements: impl Iterator<Item = Studied>) -> Studied {
    let mut all: Option<Evidence> = None;
    for element in elements {
        match (&mut all, element?) {
            (_, None) => {}
            (Some(all), Some(element)) => all.merge(element),
            (none, element) => *none = element,
        }
    }
    match all {
        Some(all) if !all.is_unanimous() => Err(Reason::ArrayElements),
        Some(mut all) => {
            all.count_once();
            Ok(Some(all))
        }
        None => Ok(None),
    }
}
