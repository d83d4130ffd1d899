//! Pages of a list (contract, "Reading").

use model::limits::{PAGE_OFFSET_ROWS_MAX, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX};
use serde::Serialize;
use store::{Parameters, Value};
use utoipa::ToSchema;

use crate::{QueryError, parameters::UrlParameters};

/// Which rows of a list are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// From 1. Other whole numbers are read as well: there is no such page, which is not the same as a malformed request.
    number: u64,
    /// 1 to [`PAGE_SIZE_MAX`]: more is read as that many.
    size: u32,
}

impl PageRequest {
    pub(crate) fn parse(parameters: &mut UrlParameters<'_>) -> Self {
        let number = match parameters.text("page").map(str::trim) {
            None => Some(1),
            Some(text) => whole_number(text),
        };
        if number.is_none() {
            parameters.errors.add("page", "Enter a whole number, from 1.");
        }
        let size = match parameters.text("page_size").map(str::trim) {
            None => Some(PAGE_SIZE_DEFAULT.into()),
            Some(text) => whole_number(text).filter(|size| *size >= 1),
        };
        if size.is_none() {
            parameters
                .errors
                .add("page_size", format!("Enter a whole number from 1 to {PAGE_SIZE_MAX}."));
        }
        let size = size.unwrap_or_default().min(PAGE_SIZE_MAX.into());
        Self {
            number: number.unwrap_or_default(),
            size: u32::try_from(size).unwrap_or(PAGE_SIZE_MAX),
        }
    }

    /// The rows of the page within the list; an error where no list can have such a page.
    pub(crate) fn window(self) -> Result<Window, QueryError> {
        self.number
            .checked_sub(1)
            .and_then(|pages_before| pages_before.checked_mul(self.size.into()))
            .filter(|offset| *offset <= PAGE_OFFSET_ROWS_MAX)
            .map(|offset| Window {
                offset,
                size: self.size,
            })
            .ok_or_else(|| self.missing())
    }

    fn missing(self) -> QueryError {
        QueryError::PageNotFound { page: self.number }
    }

    /// The page with these rows of a list of `count`. A page without rows is an error, unless it is the first.
    pub(crate) fn page<T>(self, count: u64, results: Vec<T>) -> Result<Page<T>, QueryError> {
        let offset = self.window()?.offset;
        if results.is_empty() && self.number != 1 {
            return Err(self.missing());
        }
        let shown = u64::try_from(results.len()).unwrap_or(u64::MAX);
        Ok(Page {
            // Never less than what is shown.
            count: count.max(offset.saturating_add(shown)),
            number: self.number,
            size: self.size,
            results,
        })
    }
}

/// A stretch of a list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    offset: u64,
    size: u32,
}

impl Window {
    /// `limit … offset …`
    pub(crate) fn sql(self, parameters: &mut Parameters) -> String {
        let limit = parameters.bind(Value::Integer(self.size.into()));
        // Within the limit of [`PageRequest::window`].
        let offset = i64::try_from(self.offset).unwrap_or(i64::MAX);
        let offset = parameters.bind(Value::Integer(offset));
        format!("limit {limit} offset {offset}")
    }

    /// The stretch of a list that is at hand.
    pub(crate) fn of<T>(self, list: Vec<T>) -> Vec<T> {
        let offset = usize::try_from(self.offset).unwrap_or(usize::MAX);
        let size = usize::try_from(self.size).unwrap_or(usize::MAX);
        list.into_iter().skip(offset).take(size).collect()
    }
}

/// Zero for negative numbers, the largest for larger ones; `None` for what is no whole number.
fn whole_number(text: &str) -> Option<u64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(if digits.len() == text.len() {
        text.parse().unwrap_or(u64::MAX)
    } else {
        0
    })
}

/// Some rows of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// Rows of the whole list.
    pub count: u64,
    /// From 1.
    pub number: u64,
    /// Most rows of a page.
    pub size: u32,
    /// The rows of this page.
    pub results: Vec<T>,
}

impl<T> Page<T> {
    /// The answer; `url` makes the URL of the page with a number.
    pub fn into_answer(self, url: impl Fn(u64) -> String) -> PageAnswer<T> {
        let last = self.count.div_ceil(self.size.into()).max(1);
        PageAnswer {
            count: self.count,
            next: (self.number < last).then(|| url(self.number + 1)),
            previous: (self.number > 1).then(|| url(self.number - 1)),
            results: self.results,
        }
    }
}

/// The body of a list's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PageAnswer<T> {
    /// Rows of the whole list.
    #[schema(example = 1)]
    pub count: u64,
    /// URL of the next page.
    #[schema(example = json!(null))]
    pub next: Option<String>,
    /// URL of the page before.
    #[schema(example = json!(null))]
    pub previous: Option<String>,
    /// The rows of this page, newest first.
    pub results: Vec<T>,
}

#[cfg(test)]
mod tests;
