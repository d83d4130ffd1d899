//! Values of a URL's parameters.

use std::str::FromStr;

use model::FieldErrors;

/// The decoded parameters of a URL. Unknown names are ignored; of a name given twice the last one counts; blank counts as absent.
pub(crate) struct UrlParameters<'pairs> {
    pairs: &'pairs [(String, String)],
    pub(crate) errors: FieldErrors,
}

impl<'pairs> UrlParameters<'pairs> {
    pub(crate) fn new(pairs: &'pairs [(String, String)]) -> Self {
        Self {
            pairs,
            errors: FieldErrors::default(),
        }
    }

    /// The value of `name` as sent; `None` when it is absent or blank.
    pub(crate) fn text(&self, name: &'static str) -> Option<&'pairs str> {
        let (_, value) = self.pairs.iter().rev().find(|(key, _)| key == name)?;
        (!value.trim().is_empty()).then_some(value)
    }

    /// The value of `name` without the space around it, read as `T`. What does not parse is noted with `sentence` and counts as absent.
    pub(crate) fn parsed<T: FromStr>(&mut self, name: &'static str, sentence: &'static str) -> Option<T> {
        let parsed = self.text(name)?.trim().parse().ok();
        if parsed.is_none() {
            self.errors.add(name, sentence);
        }
        parsed
    }

    /// `value`, unless a field was wrong.
    pub(crate) fn finish<T>(self, value: T) -> Result<T, FieldErrors> {
        if self.errors.is_empty() {
            Ok(value)
        } else {
            Err(self.errors)
        }
    }
}
