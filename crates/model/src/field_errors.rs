//! What is wrong with each field of something a client sent.

use std::borrow::Cow;

use serde::{Serialize, Serializer};

/// Each faulty field of an event or a request with what is wrong with it: all of them at once, in the order they were found.
///
/// Serializes as `details` of the contract's error body: `{"<field>": ["<sentence>", …]}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldErrors(Vec<(Cow<'static, str>, Vec<String>)>);

impl FieldErrors {
    /// The fault of a single field.
    pub fn of(field: impl Into<Cow<'static, str>>, sentence: impl Into<String>) -> Self {
        let mut errors = Self::default();
        errors.add(field, sentence);
        errors
    }

    /// Adds a sentence to a field; the field keeps its first place.
    pub fn add(&mut self, field: impl Into<Cow<'static, str>>, sentence: impl Into<String>) {
        let (field, sentence) = (field.into(), sentence.into());
        match self.0.iter_mut().find(|(name, _)| *name == field) {
            Some((_, sentences)) => sentences.push(sentence),
            None => self.0.push((field, vec![sentence])),
        }
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each field with its sentences.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.0
            .iter()
            .map(|(field, sentences)| (field.as_ref(), sentences.as_slice()))
    }

    /// All of it on one line, for places that have room for one sentence: `event_name: This field is required.`
    pub fn to_line(&self) -> String {
        let fields: Vec<_> = self
            .iter()
            .map(|(field, sentences)| format!("{field}: {}", sentences.join(" ")))
            .collect();
        fields.join(" ")
    }
}

impl Serialize for FieldErrors {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_errors_keep_their_order_and_serialize_as_details() {
        let mut errors = FieldErrors::of("event_name", "This field is required.");
        errors.add("user_id", "Must be a string, but is a number.");
        errors.add("event_name", "Second.");
        assert_eq!(
            serde_json::to_string(&errors).unwrap(),
            r#"{"event_name":["This field is required.","Second."],"user_id":["Must be a string, but is a number."]}"#
        );
        assert_eq!(
            errors.to_line(),
            "event_name: This field is required. Second. user_id: Must be a string, but is a number."
        );
    }
}
