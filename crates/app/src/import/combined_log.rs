//! Access logs of web servers: the common and the combined format, as Apache httpd and nginx write them.
//!
//! `HOST IDENT USER [17/May/2015:10:05:03 +0000] "GET /path HTTP/1.1" 200 203023 "REFERRER" "USER AGENT"`
//!
//! The site may stand before it, with its port or without (Apache's `vhost_combined`): it is told by an address behind it, or by the port.
//!
//! A line without referrer and user agent is the common format; what follows them is left out; one that was cut off inside them keeps
//! what is there. A line must have a host, a time, a quoted
//! request and a status; everything else may be `-`. The request may be any bytes (attacks, TLS on a plain port): what is no request
//! line is kept as property `request`.
//!
//! Event: `page_view` when a GET was answered with 2xx or 304 for something that is no file of a page ([`request::ASSET_EXTENSIONS`]), else
//! `request`. Properties: `url` (target with query), `method`, `protocol`, `status`, `bytes` (numbers), `referrer`, `auth_user`, `host`
//! when the visitor's is a name, and `hostname` when the line or the importer says which site it is of.

mod request;

use std::{
    io::{self, BufRead},
    net::IpAddr,
};

use jiff::civil::DateTime;
use model::limits::IMPORT_LINE_BYTES_MAX;
use serde_json::{Map, Value};

use super::{
    ImportEvent, Properties, Record, Records, Refusal,
    identity::{self, Identities},
    lines::{Line, read_line},
};
use request::Request;

/// `event_source` of imported log lines.
pub const SOURCE: &str = "access-log";

/// The records of an access log.
pub struct LogRecords<R> {
    reader: R,
    buffer: Vec<u8>,
    line: u64,
    identities: Identities,
    hostname: Option<String>,
}

impl<R: BufRead + Send> LogRecords<R> {
    /// Reads from the beginning. `hostname` is the site whose log it is, so that links inside it are no referrals.
    pub fn new(reader: R, hostname: Option<String>) -> Self {
        Self {
            reader,
            hostname,
            buffer: Vec::new(),
            line: 0,
            identities: Identities::default(),
        }
    }
}

impl<R: BufRead + Send> Records for LogRecords<R> {
    fn next_record(&mut self) -> io::Result<Option<Record>> {
        loop {
            let read = read_line(&mut self.reader, &mut self.buffer, IMPORT_LINE_BYTES_MAX)?;
            self.line += 1;
            let outcome = match read {
                Line::End => return Ok(None),
                Line::TooLong => Err(Refusal::new(format!(
                    "the line has more than {IMPORT_LINE_BYTES_MAX} bytes"
                ))),
                Line::Whole if self.buffer.trim_ascii().is_empty() => continue,
                Line::Whole => parse(&self.buffer, self.hostname.as_deref()).map(|mut event| {
                    event.event_id = self.identities.next(&self.buffer);
                    event
                }),
            };
            return Ok(Some(Record {
                line: self.line,
                outcome,
            }));
        }
    }
}

/// Reads one line of the log of a site. The event has no id yet.
pub fn parse(line: &[u8], hostname: Option<&str>) -> Result<ImportEvent, Refusal> {
    let mut fields = Fields { rest: line };
    let Visitor { host, address, site } = fields.visitor().ok_or_else(|| Refusal::new("the line has no host"))?;
    let user = fields.user()?;
    let timestamp = time(fields.time()?)?;
    let request = unescaped(
        fields
            .quoted()
            .ok_or_else(|| Refusal::new("the request is not in quotes"))?,
    );
    let status: u16 = number(fields.word())
        .filter(|status| (100..1000).contains(status))
        .ok_or_else(|| Refusal::new("the status is no number of three digits"))?;
    let bytes: Option<u64> = number(fields.word());
    let referrer = fields.quoted_or_cut().map(unescaped);
    let user_agent = fields.quoted_or_cut().map(unescaped);

    let request = Request::read(&request);
    let event_name = if request.is_page_view(status) {
        "page_view"
    } else {
        "request"
    };
    let mut properties = Map::new();
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            properties.insert(name.to_owned(), value);
        }
    };
    set("url", request.target.map(Value::from));
    set("method", request.method.map(Value::from));
    set("protocol", request.protocol.map(Value::from));
    set("request", request.malformed.map(Value::from));
    set("status", Some(Value::from(status)));
    set("bytes", bytes.map(Value::from));
    set("referrer", said(referrer).map(Value::from));
    set("auth_user", user.map(Value::from));
    // What the person says counts more than the line.
    set("hostname", hostname.map(str::to_owned).or(site).map(Value::from));
    set("host", host.clone().map(Value::from));
    let user_agent = said(user_agent);
    // The server makes one visitor of an address and its agent; of a name it cannot.
    let anonymous_id = host.map(|host| identity::visitor(&host, user_agent.as_deref().unwrap_or_default()));
    Ok(ImportEvent {
        event_name: event_name.to_owned(),
        event_source: Some(SOURCE.to_owned()),
        properties: Properties::from(&properties),
        timestamp,
        ip_address: address.map(|address| address.to_string()),
        user_agent,
        anonymous_id,
        ..ImportEvent::default()
    })
}

/// `None` for `-` and the empty text.
fn said(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty() && text != "-")
}

fn number<T: std::str::FromStr>(word: Option<&[u8]>) -> Option<T> {
    std::str::from_utf8(word?).ok()?.parse().ok()
}

/// Who asked, and for which site.
struct Visitor {
    /// A name, where there is no address.
    host: Option<String>,
    address: Option<IpAddr>,
    /// As the line says, without port.
    site: Option<String>,
}

fn address(word: &[u8]) -> Option<IpAddr> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

/// The name of `example.com:80`; `None` where there is no port.
fn before_port(word: &[u8]) -> Option<&[u8]> {
    let colon = word.iter().rposition(|byte| *byte == b':')?;
    number::<u16>(word.get(colon + 1..)).map(|_| &word[..colon])
}

/// What is left of a line.
#[derive(Clone, Copy)]
struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// The next word: up to a blank.
    fn word(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest.trim_ascii_start();
        let end = rest.iter().position(|byte| *byte == b' ').unwrap_or(rest.len());
        let (word, rest) = rest.split_at(end);
        self.rest = rest;
        (!word.is_empty()).then_some(word)
    }

    /// The visitor's host, and the site's before it where a log names it.
    fn visitor(&mut self) -> Option<Visitor> {
        let mut word = self.word()?;
        let mut site = None;
        let mut behind = *self;
        if address(word).is_none()
            && let Some(next) = behind.word()
            && (address(next).is_some() || (next != b"-" && before_port(word).is_some()))
        {
            site = Some(before_port(word).unwrap_or(word));
            word = next;
            *self = behind;
        }
        let text = |word: &[u8]| said(Some(String::from_utf8_lossy(word).into_owned()));
        let address = address(word);
        Some(Visitor {
            host: if address.is_none() { text(word) } else { None },
            address,
            site: site.and_then(text),
        })
    }

    /// The authenticated user: between the ident word and the time. It may hold blanks.
    fn user(&mut self) -> Result<Option<String>, Refusal> {
        let missing = || Refusal::new("the line has no time in brackets");
        let time = self
            .rest
            .windows(2)
            .position(|pair| pair == b" [")
            .ok_or_else(missing)?;
        let (before, rest) = self.rest.split_at(time);
        self.rest = rest;
        let mut before = Fields { rest: before };
        before.word();
        Ok(said(Some(unescaped(before.rest.trim_ascii()))))
    }

    /// The text in brackets.
    fn time(&mut self) -> Result<&'a [u8], Refusal> {
        let missing = || Refusal::new("the line has no time in brackets");
        let rest = self.rest.trim_ascii_start().strip_prefix(b"[").ok_or_else(missing)?;
        let end = rest.iter().position(|byte| *byte == b']').ok_or_else(missing)?;
        self.rest = &rest[end + 1..];
        Ok(&rest[..end])
    }

    /// The next text in quotes, still escaped; `None` when none begins here or none ends.
    fn quoted(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest.trim_ascii_start().strip_prefix(b"\"")?;
        let mut escaped = false;
        let end = rest.iter().position(|byte| {
            let ends = *byte == b'"' && !escaped;
            escaped = *byte == b'\\' && !escaped;
            ends
        })?;
        self.rest = &rest[end + 1..];
        Some(&rest[..end])
    }
}

impl<'a> Fields<'a> {
    /// As [`Self::quoted`], or what is there of a text whose end was cut off with the line.
    fn quoted_or_cut(&mut self) -> Option<&'a [u8]> {
        if let Some(text) = self.quoted() {
            return Some(text);
        }
        let cut = self.rest.trim_ascii_start().strip_prefix(b"\"")?;
        self.rest = &[];
        Some(cut)
    }
}

/// Undoes `\"`, `\\`, `\n`, `\r`, `\t` and `\xhh`, as httpd and nginx write them; other backslashes stay.
/// All of them stay where the result would be no UTF-8.
fn unescaped(text: &[u8]) -> String {
    if !text.contains(&b'\\') {
        return String::from_utf8_lossy(text).into_owned();
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let (plain, used) = match (byte, after.first()) {
            (b'\\', Some(quoted @ (b'"' | b'\\'))) => (*quoted, 2),
            (b'\\', Some(b'n')) => (b'\n', 2),
            (b'\\', Some(b'r')) => (b'\r', 2),
            (b'\\', Some(b't')) => (b'\t', 2),
            (b'\\', Some(b'x')) => match after.get(1..3).and_then(hex_byte) {
                Some(value) => (value, 4),
                None => (byte, 1),
            },
            _ => (byte, 1),
        };
        bytes.push(plain);
        rest = &rest[used..];
    }
    // Bytes of an older encoding than UTF-8: as the log spells them they can still be told apart.
    String::from_utf8(bytes).unwrap_or_else(|_| String::from_utf8_lossy(text).into_owned())
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(digits).ok()?;
    u8::from_str_radix(text, 16).ok()
}

/// `17/May/2015:10:05:03 +0000` as RFC 3339 in UTC.
fn time(text: &[u8]) -> Result<String, Refusal> {
    read_time(text).ok_or_else(|| Refusal::new("the time is not like 17/May/2015:10:05:03 +0000"))
}

fn read_time(text: &[u8]) -> Option<String> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let text = std::str::from_utf8(text).ok()?;
    let (date, rest) = text.split_once(':')?;
    let (clock, offset) = rest.split_once(' ')?;
    let mut date = date.split('/');
    let (day, month, year) = (date.next()?, date.next()?, date.next()?);
    let mut clock = clock.split(':');
    let (hour, minute, second) = (clock.next()?, clock.next()?, clock.next()?);
    if date.next().is_some() || clock.next().is_some() {
        return None;
    }
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    // A leap second is counted as the second before it.
    let second = second
        .parse::<i8>()
        .ok()?
        .min(if second == "60" { 59 } else { i8::MAX });
    let local = DateTime::new(
        year.parse().ok()?,
        i8::try_from(month).ok()?,
        day.parse().ok()?,
        hour.parse().ok()?,
        minute.parse().ok()?,
        second,
        0,
    )
    .ok()?;
    let instant = offset_of(offset)?.to_timestamp(local).ok()?;
    Some(model::Timestamp::from(instant).to_string())
}

/// `+0200`.
fn offset_of(text: &str) -> Option<jiff::tz::Offset> {
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    if digits.len() != 4 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let hours: i32 = digits[..2].parse().ok()?;
    let minutes: i32 = digits[2..].parse().ok()?;
    jiff::tz::Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok()
}

#[cfg(test)]
mod tests;
